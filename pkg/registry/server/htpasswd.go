package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/units"
)

// maxHtpasswd is the size in bytes of the largest password file that is read.
const maxHtpasswd = 16 << 20

// maxCost is the highest cost of a password, which is also htpasswd's: some 10 s for a login.
const maxCost = 17

// unusableHtpasswd reports that a password file is not read, because it is too large or not a file.
func unusableHtpasswd(path string) *HtpasswdError {
	return &HtpasswdError{Path: path, Problem: "it is not a regular file of at most " + units.Bytes(maxHtpasswd)}
}

// checkHtpasswd checks a password file, because the distribution accepts any file and
// then refuses all logins. It returns the users.
func checkHtpasswd(path string) (users []string, err error) {
	b, err := inputfile.ReadRegular(path, maxHtpasswd)
	if err != nil {
		var tooLarge *inputfile.TooLargeError
		if errors.As(err, &tooLarge) || errors.Is(err, inputfile.ErrNotRegular) {
			return nil, unusableHtpasswd(path)
		}
		return nil, &HtpasswdError{Path: path, Problem: inputfile.WithoutPath(err).Error()}
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
			problem := fmt.Sprintf("the password of %q has a cost of %d, more than %d: each login would take minutes",
				user, cost, maxCost)
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
