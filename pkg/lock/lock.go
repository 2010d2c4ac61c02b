// Package lock owns the lock file: all inputs of a set of images by digest, as text
// that people read and compare. It must not know how inputs are recorded, fetched or
// used.
package lock

import (
	"cmp"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Version is the version of the format.
const Version = 1

// FileName is the name of a lock where none is given.
const FileName = "kolla-build.lock"

// Lock lists the inputs of a set of images. Lists are sorted and without duplicates.
type Lock struct {
	Version int `toml:"version"`
	// Compatibility is BuildKit's compatibility version.
	Compatibility int `toml:"compatibility-version"`

	Set      Set      `toml:"set"`
	Images   []Image  `toml:"image"`
	Bases    []Base   `toml:"base-image"`
	Sources  []Source `toml:"source"`
	Files    []File   `toml:"file"`
	Redirect []Link   `toml:"redirect"`
	Absent   []Absent `toml:"absent"`
	// Unrepeatable are requests that the lock cannot repeat.
	Missed []Unrepeatable `toml:"not-captured"`
}

// Set describes the configuration of the images.
type Set struct {
	Base        string `toml:"base"`
	BaseTag     string `toml:"base-tag"`
	InstallType string `toml:"install-type"`
	Release     string `toml:"openstack-release"`
}

// Image is a built image.
type Image struct {
	Name   string        `toml:"name"` // with "@PLATFORM" in multi-platform sets
	Key    digest.Digest `toml:"key"`  // content key, see docs/architecture.md
	Digest digest.Digest `toml:"digest"`
}

// Base is an image from outside of the tree.
type Base struct {
	Name     string        `toml:"name"` // reference as in FROM
	Platform string        `toml:"platform"`
	Digest   digest.Digest `toml:"digest"` // of the manifest for the platform
	Size     int64         `toml:"size"`   // of its blobs, in bytes
}

// Source is the archive of a source section.
type Source struct {
	Section   string        `toml:"section"`
	Type      string        `toml:"type"` // url, git or local
	Location  string        `toml:"location"`
	Reference string        `toml:"reference,omitempty"`
	Commit    string        `toml:"commit,omitempty"`
	Digest    digest.Digest `toml:"digest"`
	Size      int64         `toml:"size"`
	Modified  time.Time     `toml:"modified,omitempty"`
}

// File is a file that steps fetched.
type File struct {
	URL      string        `toml:"url"`
	Digest   digest.Digest `toml:"digest"`
	Size     int64         `toml:"size"`
	Type     string        `toml:"type,omitempty"`     // the server's media type, where clients depend on it
	Encoding string        `toml:"encoding,omitempty"` // Content-Encoding of a server that sends no other form
	Modified time.Time     `toml:"modified,omitempty"`
	Images   []string      `toml:"images"` // images whose steps fetched it; empty for ADD
}

// Link is a URL that redirects to another one.
type Link struct {
	URL    string   `toml:"url"`
	To     string   `toml:"to"`
	Status int      `toml:"status"`
	Images []string `toml:"images"`
}

// Absent is a URL that steps requested and that did not exist.
type Absent struct {
	URL    string   `toml:"url"`
	Status int      `toml:"status"`
	Images []string `toml:"images"`
}

// Unrepeatable is a request that cannot be repeated offline.
type Unrepeatable struct {
	Request string `toml:"request"`
	Image   string `toml:"image"`
	Reason  string `toml:"reason"`
}

// Sort brings the lists into the order of the file.
func (l *Lock) Sort() {
	slices.SortFunc(l.Images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(l.Bases, func(a, b Base) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Platform, b.Platform))
	})
	slices.SortFunc(l.Sources, func(a, b Source) int { return compareSource(a, b) })
	slices.SortFunc(l.Files, func(a, b File) int { return cmp.Compare(a.URL, b.URL) })
	slices.SortFunc(l.Redirect, func(a, b Link) int { return cmp.Compare(a.URL, b.URL) })
	slices.SortFunc(l.Absent, func(a, b Absent) int { return cmp.Compare(a.URL, b.URL) })
	slices.SortFunc(l.Missed, func(a, b Unrepeatable) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Request, b.Request), cmp.Compare(a.Reason, b.Reason))
	})
	l.Missed = slices.Compact(l.Missed)
}

func compareSource(a, b Source) int {
	return cmp.Or(cmp.Compare(a.Section, b.Section), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Location, b.Location),
		cmp.Compare(a.Reference, b.Reference))
}

// Image returns an image of the lock.
func (l *Lock) Image(name string) (Image, bool) {
	i, ok := slices.BinarySearchFunc(l.Images, name, func(im Image, name string) int { return cmp.Compare(im.Name, name) })
	if !ok {
		return Image{}, false
	}
	return l.Images[i], true
}

// FindSource returns the source of a section.
func (l *Lock) FindSource(section, kind, location, reference string) (Source, bool) {
	i, ok := slices.BinarySearchFunc(l.Sources,
		Source{Section: section, Type: kind, Location: location, Reference: reference}, compareSource)
	if !ok {
		return Source{}, false
	}
	return l.Sources[i], true
}
