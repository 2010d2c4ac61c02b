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

// Familiar returns the FamiliarName of a reference, "" for what is no name. With an empty
// namespace, {{ namespace }}/NAME is rendered to /NAME.
func Familiar(reference string) string {
	name, err := FamiliarName(strings.TrimPrefix(reference, "/"))
	if err != nil {
		return ""
	}
	return name
}

// imageList is the images that a Dockerfile refers to, each once.
type imageList struct {
	stages map[string]bool // their names in lower case: BuildKit ignores it
	known  map[string]bool // references as written: tags differ by case
	images []Image
}

// add adds the image that a FROM, COPY --from or mount names, unless it is a stage. Names
// that are not valid, and those with variables, are left out: BuildKit reports them.
func (l *imageList) add(text string, line int) {
	if text == "" || l.stages[strings.ToLower(text)] || l.known[text] || strings.Contains(text, "$") {
		return
	}
	name := Familiar(text)
	if name == "" {
		return
	}
	l.known[text] = true
	l.images = append(l.images, Image{text, name, line})
}

func (l *imageList) addSources(cmd instructions.Command, line int) {
	for _, name := range sources(cmd) {
		l.add(name, line)
	}
}

// Images returns the images from outside that a Dockerfile refers to, each once: those of
// FROM lines first. Names that are not valid, and those of COPY --from with variables, are
// left out: BuildKit reports them.
func (d *Dockerfile) Images() []Image { return d.imageList().images }

func (d *Dockerfile) imageList() *imageList {
	l := &imageList{stages: map[string]bool{"scratch": true, "context": true}, known: map[string]bool{}}
	for i, st := range d.Stages {
		l.add(st.BaseName, firstLine(st.Location))
		if st.Name != "" {
			l.stages[strings.ToLower(st.Name)] = true
		}
		l.stages[strconv.Itoa(i)] = true
	}
	byName := stagesByName(d.Stages)
	for i, st := range d.Stages {
		for _, cmd := range st.Commands {
			l.addSources(cmd, firstLine(cmd.Location()))
		}
		for _, cmd := range d.stageTriggers(i, byName) {
			l.addSources(cmd, firstLine(st.Location))
		}
	}
	return l
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
//
// onBuild are the ONBUILD instructions of the result that refer to images or stages,
// without the word ONBUILD, for TriggeredReferences.
func References(content []byte, o Options) (base Image, others []Image, onBuild []string) {
	if base, ok := onlyReference(content); ok {
		return base, nil, nil
	}
	d := parseTolerant(content)
	base, others = d.references(o)
	return base, others, d.onBuildFrom()
}

// FinalBase returns the image that the last stage of a Dockerfile is based on, also through
// other stages. It is the zero Image if there is no FROM, or its name is not valid.
func FinalBase(content []byte, o Options) Image {
	d := parseTolerant(content)
	d.resolveTolerant(o)
	i := len(d.Stages) - 1
	for i >= 0 {
		st := d.Stages[i]
		earlier, ok := stagesByName(d.Stages[:i])[strings.ToLower(st.BaseName)]
		if !ok {
			name, err := FamiliarName(strings.TrimPrefix(st.BaseName, "/"))
			if err != nil {
				return Image{}
			}
			return Image{st.BaseName, name, firstLine(st.Location)}
		}
		i = earlier
	}
	return Image{}
}

// TriggeredReferences returns the images that a Dockerfile refers to only by ONBUILD
// instructions of the images that it is based on, each with the line of the FROM. onBuild
// returns those of an image, as References does.
func TriggeredReferences(content []byte, o Options, onBuild func(Image) []string) []Image {
	d := parseTolerant(content)
	d.resolveTolerant(o)
	_, images, _ := d.Triggered(func(base Image) ([]instructions.Command, error) {
		var triggers []instructions.Command
		for _, text := range onBuild(base) {
			if cmds, err := Triggers([]string{text}); err == nil {
				triggers = append(triggers, cmds...)
			}
		}
		return triggers, nil
	})
	return images
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
		// A line may begin with any white space, of which Unicode's consists of bytes from 0x80.
		startOfLine = c == '\n' || startOfLine && (c <= ' ' || c >= 0x80)
	}
	return false
}

func (d *Dockerfile) references(o Options) (base Image, others []Image) {
	if len(d.Stages) == 0 {
		return Image{}, nil
	}
	d.resolveTolerant(o)
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

// resolveTolerant is Resolve for a Dockerfile that may have mistakes: a variable without
// a value stays as written.
func (d *Dockerfile) resolveTolerant(o Options) {
	values, err := d.globalValues(o)
	if err != nil {
		return
	}
	for i := range d.Stages {
		if name, missing, err := d.expand(d.fromRaw[i], values); err == nil && name != "" && len(missing) == 0 {
			d.Stages[i].BaseName = name
		}
	}
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
