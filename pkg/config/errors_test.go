package config

import "testing"

func TestWithoutLogin(t *testing.T) {
	for text, want := range map[string]string{
		"https://host/path":                    "https://host/path",
		"https://me:secret@host/x@y":           "https://*********@host/x@y",
		"https://me:s@cret@host/x":             "https://*********@host/x",
		"a = https://t@h, https://u:p@h2 m@il": "a = https://*@h, https://***@h2 m@il",
		"https://h?mail=a@b":                   "https://h?mail=a@b",
	} {
		if got := WithoutLogin(text); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}
