// Package redact removes credentials from text before it is printed, logged or stored.
// It must not know what the URLs are for.
//
// A user name in a URL counts as a credential, because many servers take a token
// in its place, and so does every value of a query.
package redact

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// mask stands in for a removed credential.
const mask = "***"

// scpLocation is the short form of an SSH location, user@host:path. It cannot
// contain a password.
var scpLocation = regexp.MustCompile(`^[^/@:]+@[^/:]+:`)

// URL returns a location with its credentials replaced by "***": the user part and the
// values of the query. It accepts locations without a scheme, such as
// "user:password@host:3128" in proxy variables, and invalid URLs.
func URL(location string) string {
	if scpLocation.MatchString(location) {
		return location
	}
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return invalidURL(location)
	}
	if u.User != nil {
		u.User = url.User(mask)
	}
	if u.RawQuery != "" {
		q := u.Query()
		for k := range q {
			q.Set(k, mask)
		}
		u.RawQuery = q.Encode()
	}
	return strings.ReplaceAll(u.String(), url.QueryEscape(mask), mask)
}

// invalidURL redacts a URL that does not parse. Programs treat everything up to the
// last @ before the path as the login, but a password may contain any character.
func invalidURL(location string) string {
	location, _, _ = strings.Cut(location, "?")
	at := strings.LastIndexByte(location, '@')
	if at < 0 {
		return location
	}
	start := 0
	if i := strings.Index(location, "://"); i >= 0 && i < at {
		start = i + len("://")
	}
	return location[:start] + mask + location[at:]
}

// login is the user part of a URL within a text. It ends at the last @ before the path:
// programs accept an unescaped @ in a password.
var login = regexp.MustCompile(`://[^/?#\s]+@`)

// InPlace replaces every character of the logins of all URLs in a text by "*", so
// that each other character keeps its column.
func InPlace(text string) string {
	return login.ReplaceAllStringFunc(text, func(s string) string {
		return "://" + strings.Repeat("*", utf8.RuneCountInString(s)-len("://@")) + "@"
	})
}

// Text removes from a text, such as another program's error message, the
// credentials of a location and the logins of all other URLs.
func Text(text, location string) string {
	text = strings.ReplaceAll(text, location, URL(location))
	for _, s := range secrets(location) {
		text = strings.ReplaceAll(text, s, mask)
	}
	return login.ReplaceAllString(text, "://"+mask+"@")
}

// secrets returns the credentials of a location, in each form in which programs
// print them.
func secrets(location string) []string {
	u, err := url.Parse(location)
	if err != nil {
		return nil
	}
	var found []string
	if u.User != nil {
		if p, ok := u.User.Password(); ok {
			found = append(found, u.User.String(), p, url.QueryEscape(p), url.PathEscape(p))
		} else {
			found = append(found, u.User.Username())
		}
	}
	for _, values := range u.Query() {
		for _, v := range values {
			found = append(found, v, url.QueryEscape(v))
		}
	}
	usable := found[:0]
	for _, s := range found {
		// Shorter ones, and the user name of every git server, would mask text that is
		// not secret.
		if len(s) >= 3 && s != "git" {
			usable = append(usable, s)
		}
	}
	return usable
}

// Variable returns the value of an environment variable or build argument for
// people to read: credentials are masked in every URL, and in values without a
// scheme if it is a proxy variable.
func Variable(name, value string) string {
	if name := strings.ToLower(name); strings.HasSuffix(name, "_proxy") && name != "no_proxy" {
		return URL(value)
	}
	return login.ReplaceAllString(value, "://"+mask+"@")
}
