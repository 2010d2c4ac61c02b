package dockerfile

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Image is an image that a Dockerfile refers to.
type Image struct {
	Reference string // as written, with the values of variables
	Name      string // what FamiliarName makes of Reference
	Line      int    // 1-based
}

// FamiliarName returns a reference in the short form in which references to the
// same image are equal: docker.io/library/debian:latest is debian.
func FamiliarName(ref string) (string, error) {
	r, err := imageref.Parse(ref)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(r.Familiar(), ":latest"), nil
}

// Images returns the images from outside that the stages and ONBUILD triggers
// refer to, each once: those of FROM lines first. Names that are not valid, and
// those of COPY --from with variables, are left out: BuildKit reports them.
func (d *Dockerfile) Images(triggers ...instructions.Command) []Image {
	known := map[string]bool{"scratch": true, "context": true}
	var images []Image
	add := func(text string, line int) {
		if text == "" || known[strings.ToLower(text)] || strings.Contains(text, "$") {
			return
		}
		// With an empty namespace, {{ namespace }}/NAME is rendered to /NAME.
		name, err := FamiliarName(strings.TrimPrefix(text, "/"))
		if err != nil {
			return
		}
		known[text] = true
		images = append(images, Image{text, name, line})
	}
	for i, st := range d.Stages {
		add(st.BaseName, firstLine(st.Location))
		if st.Name != "" {
			known[strings.ToLower(st.Name)] = true
		}
		known[strconv.Itoa(i)] = true
	}
	for _, st := range d.Stages {
		for _, cmd := range st.Commands {
			for _, name := range sources(cmd) {
				add(name, firstLine(cmd.Location()))
			}
		}
	}
	for _, cmd := range triggers {
		for _, name := range sources(cmd) {
			add(name, d.lastFromLine())
		}
	}
	return images
}

func (d *Dockerfile) lastFromLine() int {
	if len(d.Stages) == 0 {
		return 0
	}
	return firstLine(d.Stages[len(d.Stages)-1].Location)
}

// sources returns the stages and images that an instruction reads files from.
func sources(cmd instructions.Command) []string {
	var names []string
	switch cmd := cmd.(type) {
	case *instructions.CopyCommand:
		names = append(names, cmd.From)
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(cmd) {
			names = append(names, m.From)
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == "" })
}

func stagesByName(stages []instructions.Stage) map[string]int {
	byName := map[string]int{}
	for i, st := range stages {
		byName[strconv.Itoa(i)] = i
		if st.Name != "" {
			byName[strings.ToLower(st.Name)] = i
		}
	}
	return byName
}

// References returns the image that the first FROM of a Dockerfile names, and
// the other images that it refers to in the order of their lines. base is the
// zero Image if there is no FROM. A Dockerfile with mistakes is read as far as
// possible: Parse reports them. A variable without a value stays as written.
func References(content []byte, o Options) (base Image, others []Image) {
	if base, ok := onlyReference(content); ok {
		return base, nil
	}
	return parseTolerant(content).references(o)
}

// onlyReference returns the image of a Dockerfile whose first line is a plain
// FROM, if no other line can refer to an image. It is for most Dockerfiles:
// parsing one takes longer than rendering it.
func onlyReference(content []byte) (Image, bool) {
	line := 1
	for len(content) > 0 && content[0] == '\n' {
		content = content[1:]
		line++
	}
	first, rest, _ := bytes.Cut(content, []byte("\n"))
	words := strings.Fields(string(first))
	if len(words) != 2 || !strings.EqualFold(words[0], "FROM") || refersToImage(rest) {
		return Image{}, false
	}
	ref := words[1]
	name, err := FamiliarName(ref)
	if err != nil || ref == "scratch" || ref == "context" {
		return Image{}, false // and for a name with variables, flags or quotes
	}
	return Image{ref, name, line}, true
}

// refersToImage reports whether lines of a Dockerfile may contain a FROM, or a
// from= as in COPY --from=stage.
func refersToImage(lines []byte) bool {
	startOfLine := true
	for i := 0; i < len(lines); i++ {
		c := lines[i]
		if c|0x20 == 'f' && len(lines)-i >= 4 && bytes.EqualFold(lines[i:i+4], []byte("from")) {
			if startOfLine || bytes.HasPrefix(bytes.TrimLeft(lines[i+4:], " \t"), []byte("=")) {
				return true
			}
		}
		// Bytes of other white space than spaces are not letters.
		startOfLine = c == '\n' || startOfLine && (c <= ' ' || c >= 0x80)
	}
	return false
}

func (d *Dockerfile) references(o Options) (base Image, others []Image) {
	if len(d.Stages) == 0 {
		return Image{}, nil
	}
	if values, err := d.globalValues(o); err == nil {
		for i := range d.Stages {
			if name, missing, err := d.expand(d.fromRaw[i], values); err == nil && name != "" && len(missing) == 0 {
				d.Stages[i].BaseName = name
			}
		}
	}
	base = Image{Reference: d.Stages[0].BaseName, Line: firstLine(d.Stages[0].Location)}
	for _, im := range d.Images() {
		if im.Reference == base.Reference {
			base = im
		} else {
			others = append(others, im)
		}
	}
	slices.SortStableFunc(others, func(a, b Image) int { return a.Line - b.Line })
	return base, others
}

// InstructionAfterFrom returns the line of the instruction that follows the first
// FROM; 0 if there is none.
func InstructionAfterFrom(content []byte) (line int) {
	d := parseTolerant(content)
	switch {
	case len(d.Stages) == 0:
		return 0
	case len(d.Stages[0].Commands) > 0:
		return firstLine(d.Stages[0].Commands[0].Location())
	case len(d.Stages) > 1:
		return firstLine(d.Stages[1].Location)
	}
	return 0
}

// IsBase reports whether a stage that is built is based on an image, so that
// the image's ONBUILD triggers run.
func (d *Dockerfile) IsBase(im Image) bool {
	return slices.ContainsFunc(d.Reachable(), func(i int) bool { return d.Stages[i].BaseName == im.Reference })
}
