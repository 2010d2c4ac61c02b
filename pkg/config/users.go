package config

import (
	"fmt"
	"strings"
)

// fillUsers reads the sections of users.
func (l *loader) fillUsers() {
	l.c.Users = map[string]User{}
	for name, s := range l.r.sections {
		if !isUser(name) {
			continue
		}
		shortName := strings.TrimSuffix(name, userSuffix)
		user := User{UID: NoID, Group: shortName, Absent: s.absent && !s.inFile, Origin: s.first}
		if text := l.sectionValue(name, "uid"); text != "" {
			user.UID = l.userID(name, "uid", text)
		} else {
			l.warnings = append(l.warnings, warningAt(s.first, s.name,
				fmt.Sprintf("[%s] has no uid: templates get none", s.name), "give the section a uid and a gid"))
		}
		user.GID = user.UID
		if text := l.sectionValue(name, "gid"); text != "" {
			user.GID = l.userID(name, "gid", text)
		}
		if group := l.sectionValue(name, "group"); group != "" {
			user.Group = group
		}
		l.c.Users[shortName] = user
	}
}

func (l *loader) userID(section, key, text string) int {
	n, err := parseInt(text, 0)
	if err != nil {
		l.fail(l.lastGiven(section, key).err(key, err.Error(), ""))
	}
	return n
}
