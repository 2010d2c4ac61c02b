package main

import (
	"testing"
	"time"
)

func TestExpectedTime(t *testing.T) {
	took := func(seconds ...int) (runs []usage) {
		for _, s := range seconds {
			runs = append(runs, usage{wall: time.Duration(s) * time.Second})
		}
		return runs
	}
	results := map[string]map[string][]usage{
		"cold": {self: took(130, 140), peerBake: took(150)},
		"base": {self: took(120)},
		"leaf": {self: took(2)},
	}
	cases := map[string]realCase{}
	for _, c := range realCases {
		cases[c.name] = c
	}
	for _, tt := range []struct {
		what, of, who string
		began         bool
		want          int
	}{
		{"the longest run of the case", "cold", self, true, 140},
		{"a case that was measured", "base", self, true, 120},
		{"a rebuild that was not measured", "base", peerBake, true, 150},
		{"a rebuild after a build that is not measured", "base", peerBake, false, 300},
		{"a peer that has built nothing", "cold", peerKolla, false, 140},
		{"a leaf that was not measured", "leaf", peerBake, true, 0},
		{"a leaf after a build that is not measured", "leaf", self, false, 142},
	} {
		s := &realSet{began: map[string]bool{tt.who: tt.began}}
		if got, want := s.expected(cases[tt.of], tt.who, results), time.Duration(tt.want)*time.Second; got != want {
			t.Errorf("%s: %v, want %v", tt.what, got, want)
		}
	}
}
