#!/bin/bash
#
# kolla_security_reset: make a fresh database safe. Runs as root, whom the
# server knows by its socket. DB_ROOT_PASSWORD is root's password from now on,
# from this container and from others.

set -o errexit
set -o nounset

# As a string of SQL.
password=${DB_ROOT_PASSWORD//\\/\\\\}
password="'${password//\'/\'\'}'"

mariadb -u root <<SQL
DELETE FROM mysql.global_priv WHERE User = '';
DELETE FROM mysql.db WHERE Db = 'test' OR Db LIKE 'test\\_%';
DROP DATABASE IF EXISTS test;
FLUSH PRIVILEGES;
GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' IDENTIFIED BY ${password} WITH GRANT OPTION;
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' IDENTIFIED BY ${password} WITH GRANT OPTION;
SQL
