package dockerfiles_test

import (
	"bytes"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/kolla-build/kolla-build/pkg/render"
)

// startFiles are what the start of an image's containers depends on: the user, and the
// files that the Dockerfiles of the image and its parents copy from their contexts.
type startFiles struct {
	user  string
	files map[string]string // content by path
}

// text is everything that the start can run.
func (s startFiles) text() string {
	var b strings.Builder
	b.WriteString(s.user)
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasSuffix(name, "extend_start") {
			b.WriteString("\n" + name + "\n" + s.files[name])
		}
	}
	return b.String()
}

var (
	touchedPart = regexp.MustCompile(`/usr/local/bin/kolla_\w*extend_start`)
	linkedSetup = regexp.MustCompile(`ln -s ../lib/kolla/httpd_setup.sh /usr/local/bin/kolla_httpd_setup`)
)

// findStartFiles returns the files of an image by the names of all images' Dockerfiles.
func findStartFiles(t *testing.T, images map[string]render.Dockerfile, reference string) startFiles {
	t.Helper()
	image, ok := images[reference]
	if !ok {
		return startFiles{user: "root", files: map[string]string{}}
	}
	found := findStartFiles(t, images, image.From)
	context := map[string]render.File{}
	for _, file := range image.Context {
		if !file.IsDir() {
			context[file.Path] = file
		}
	}
	ast, err := parser.Parse(bytes.NewReader(image.Content))
	if err != nil {
		t.Fatalf("%s: %v", image.Template, err)
	}
	stages, _, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		t.Fatalf("%s: %v", image.Template, err)
	}
	for _, stage := range stages {
		for _, command := range stage.Commands {
			switch c := command.(type) {
			case *instructions.UserCommand:
				found.user = c.User
			case *instructions.RunCommand:
				line := strings.Join(c.CmdLine, " ")
				if linkedSetup.MatchString(line) {
					found.files["/usr/local/bin/kolla_httpd_setup"] = found.files["/usr/local/lib/kolla/httpd_setup.sh"]
				}
				for _, name := range touchedPart.FindAllString(line, -1) {
					if _, ok := found.files[name]; !ok && strings.Contains(line, "touch") {
						found.files[name] = ""
					}
				}
			case *instructions.CopyCommand:
				if c.From != "" {
					continue
				}
				for _, content := range c.SourceContents {
					found.files[c.DestPath] = content.Data
				}
				for _, source := range c.SourcePaths {
					file, ok := context[path.Clean(source)]
					if !ok {
						continue
					}
					data, err := file.Read()
					if err != nil {
						t.Fatal(err)
					}
					name := c.DestPath
					if strings.HasSuffix(name, "/") || len(c.SourcePaths) > 1 {
						name = path.Join(name, path.Base(source))
					}
					found.files[name] = string(data)
				}
			}
		}
	}
	return found
}
