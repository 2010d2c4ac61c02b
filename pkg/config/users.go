package config

import (
	"fmt"
	"maps"
	"slices"
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
	l.warnOfSharedIDs()
}

// maxID is the greatest ID that Linux has for a user or group: the next one means "no ID".
const maxID = 1<<32 - 2

// warnOfSharedIDs warns of users of a file that have the uid of another user: useradd
// refuses it, when the base image is built.
func (l *loader) warnOfSharedIDs() {
	names := map[int][]string{}
	for _, name := range slices.Sorted(maps.Keys(l.c.Users)) {
		if u := l.c.Users[name]; u.UID != NoID && !u.Absent {
			names[u.UID] = append(names[u.UID], name)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		i := slices.IndexFunc(names[id], func(name string) bool { return l.c.Users[name].Origin.Kind == OriginFile })
		if len(names[id]) == 1 || i < 0 {
			continue
		}
		section := names[id][i] + userSuffix
		l.warnings = append(l.warnings, warningAt(l.c.Users[names[id][i]].Origin, section,
			fmt.Sprintf("[%s] has the uid of another user: %s have %d", section, strings.Join(names[id], " and "), id),
			"give each user a uid of its own"))
	}
}

func (l *loader) userID(section, key, text string) int {
	n, err := parseInt(text, 0)
	if err == nil && n > maxID {
		err = fmt.Errorf("%d is too large: the greatest is %d", n, maxID)
	}
	if err != nil {
		l.fail(l.r.lastGiven(section, key).err(key, err.Error(), ""))
	}
	return n
}
