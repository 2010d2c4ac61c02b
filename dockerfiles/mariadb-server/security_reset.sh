#!/bin/bash
#
# kolla_security_reset: make a new database secure, and set the password of root, here and
# from other hosts, to DB_ROOT_PASSWORD. It runs as root, which the server authenticates by
# its socket.

set -o errexit
set -o nounset

# Quote the password as an SQL string.
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
