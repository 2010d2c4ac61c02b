package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
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

// warnOfSharedIDs warns of users of a file that have the uid, gid or group of another user: the
// base image runs groupadd and useradd for each user, which refuse it.
func (l *loader) warnOfSharedIDs() {
	id := func(n int) string {
		if n == NoID {
			return ""
		}
		return strconv.Itoa(n)
	}
	shared := l.sharing(func(u User) string { return id(u.UID) })
	l.warnOfShared("uid", shared)
	gids := l.sharing(func(u User) string { return id(u.GID) })
	maps.DeleteFunc(gids, func(gid string, names []string) bool { // the gid is the uid by default
		return slices.Equal(names, shared[gid])
	})
	l.warnOfShared("gid", gids)
	l.warnOfShared("group", l.sharing(func(u User) string { return u.Group }))
}

// sharing returns the users that have the same property, by its value.
func (l *loader) sharing(property func(User) string) map[string][]string {
	names := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(l.c.Users)) {
		u := l.c.Users[name]
		exists := !u.Absent || l.c.ImagesDir == "" // the built-in tree has users that Kolla lacks
		if value := property(u); exists && value != "" {
			names[value] = append(names[value], name)
		}
	}
	maps.DeleteFunc(names, func(_ string, users []string) bool { return len(users) == 1 })
	return names
}

// warnOfShared warns of users of a file that share a property, by its value.
func (l *loader) warnOfShared(property string, shared map[string][]string) {
	for _, value := range slices.Sorted(maps.Keys(shared)) {
		names := shared[value]
		i := slices.IndexFunc(names, func(name string) bool { return l.c.Users[name].Origin.Kind == OriginFile })
		if i < 0 {
			continue
		}
		section := names[i] + userSuffix
		l.warnings = append(l.warnings, warningAt(l.c.Users[names[i]].Origin, section,
			fmt.Sprintf("[%s] has the %s of another user: %s have %s", section, property, strings.Join(names, " and "), value),
			fmt.Sprintf("give each user a different %s", property)))
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
