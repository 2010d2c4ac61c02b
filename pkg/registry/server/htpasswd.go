package server

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// maxHtpasswd is the size in bytes of the largest password file that is read.
const maxHtpasswd = 16 << 20

// maxCost is the highest cost of a password, which is also htpasswd's: some 10 s for a login.
const maxCost = 17

// checkHtpasswd checks a password file, because the distribution accepts any file and
// then refuses all logins. It returns the users.
func checkHtpasswd(path string) (users []string, err error) {
	b, err := inputfile.ReadRegular(path, maxHtpasswd)
	if err != nil {
		return nil, &HtpasswdError{Path: path, Problem: pathCause(err)}
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, &HtpasswdError{Path: path, Line: n, Problem: "expected USER:HASH"}
		}
		cost, err := bcrypt.Cost([]byte(hash))
		if err == nil && cost > maxCost {
			problem := fmt.Sprintf("the password of %q has a cost of %d, more than %d: each login would take minutes", user, cost, maxCost)
			return nil, &HtpasswdError{Path: path, Line: n, Problem: problem}
		}
		if err != nil {
			problem := fmt.Sprintf("the password of %q is not hashed with bcrypt, the only form that a registry accepts", user)
			return nil, &HtpasswdError{Path: path, Line: n, Problem: problem}
		}
		users = append(users, user)
	}
	if err := sc.Err(); err != nil {
		return nil, &HtpasswdError{Path: path, Problem: err.Error()}
	}
	if len(users) == 0 {
		return nil, &HtpasswdError{Path: path, Problem: "it contains no user, so no login would succeed"}
	}
	return users, nil
}
