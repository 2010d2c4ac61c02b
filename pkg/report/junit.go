package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// The elements of JUnit XML as Ant writes it. Schemas differ, and all of them accept
// this: it has the attributes that strict ones require, and none that only some of them
// support.
type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	ID         int         `xml:"id,attr"`
	Name       string      `xml:"name,attr"`
	Package    string      `xml:"package,attr"`
	Timestamp  string      `xml:"timestamp,attr"`
	Hostname   string      `xml:"hostname,attr"`
	Tests      int         `xml:"tests,attr"`
	Failures   int         `xml:"failures,attr"`
	Errors     int         `xml:"errors,attr"`
	Skipped    int         `xml:"skipped,attr"`
	Time       string      `xml:"time,attr"`
	Properties []junitProp `xml:"properties>property"`
	Cases      []junitCase `xml:"testcase"`
	Out        string      `xml:"system-out"`
	Err        string      `xml:"system-err"`
}

type junitProp struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitSkipped `xml:"skipped"`
	Error   *junitProblem `xml:"error"`
	Failure *junitProblem `xml:"failure"`
}

type junitSkipped struct {
	Message string `xml:"message,attr,omitempty"`
}

type junitProblem struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",cdata"`
}

// WriteJUnit writes the run as JUnit XML: a suite with a test case for each selected
// image, and one for the run itself, so that a run that ended early or published
// nothing does not look successful. An image that failed is a failure, one whose parent
// failed is skipped, and one that was not finished is an error.
func (r *Run) WriteJUnit(w io.Writer) error {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	suite := junitSuite{Name: "kolla-build", Package: "kolla-build", Hostname: host, Time: junitTime(r.Duration),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
	properties := [][2]string{
		{"title", r.Title},
		{"version", r.Version},
		{"outcome", string(r.Outcome)},
		{"registry", r.Registry},
		{"tags", strings.Join(r.Tags, " ")},
		{"not published", strings.Join(image.Strings(r.Left), " ")},
	}
	for _, p := range properties {
		if p[1] != "" {
			suite.Properties = append(suite.Properties, junitProp{p[0], oneLine(p[1])})
		}
	}
	suite.Cases = append(suite.Cases, r.junitRun())
	allowed := r.allowed()
	for _, res := range r.Selected() {
		suite.Cases = append(suite.Cases, junitImage(res, allowed[res.Image]))
	}
	for _, c := range suite.Cases {
		suite.Tests++
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Error != nil:
			suite.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\n")
	return err
}

func (r *Run) junitRun() junitCase {
	c := junitCase{Class: "kolla-build", Name: "the run", Time: junitTime(r.Duration)}
	switch {
	case r.Err != nil:
		c.Error = &junitProblem{
			Type:    string(r.Outcome),
			Message: oneLine(r.Err.Error()),
			Text:    xmlText(strings.Split(r.Err.Error(), "\n")),
		}
	case r.Outcome == OutcomeInterrupted:
		c.Error = &junitProblem{Type: string(r.Outcome), Message: "the run was interrupted"}
	case r.Publishes && !r.NothingNew && len(r.Tags) == 0:
		c.Failure = &junitProblem{Type: "unpublished", Message: "nothing was published: no tag was changed"}
	}
	return c
}

func junitImage(res Result, allowed bool) junitCase {
	c := junitCase{Class: "kolla-build.images", Name: oneLine(res.Image.String()), Time: junitTime(res.Duration)}
	message := orText(failureText(res.Result), string(res.Status))
	switch res.Status {
	case build.StatusError, build.StatusPushError, build.StatusLoadError:
		if allowed {
			c.Skipped = &junitSkipped{Message: "allowed to fail: " + message}
			break
		}
		c.Failure = &junitProblem{Type: string(res.Status), Message: message, Text: xmlText(failureLines(res))}
	case build.StatusCanceled:
		c.Error = &junitProblem{Type: string(res.Status), Message: orText(oneLine(res.Reason), "interrupted")}
	case build.StatusParentError, build.StatusSkipped, build.StatusUnbuildable:
		c.Skipped = &junitSkipped{Message: orText(oneLine(res.Reason), string(res.Status))}
	}
	return c
}

// failureLines returns a failure as the text summary prints it.
func failureLines(res Result) []string {
	failure := res.Failure
	if failure == nil {
		return []string{res.Reason}
	}
	var lines []string
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+value)
		}
	}
	if failure.Err != nil {
		add("cause", failure.Err.Error())
	}
	add("step", failure.Step)
	if failure.ExitCode != 0 {
		add("exit code", fmt.Sprint(failure.ExitCode))
	}
	add("template", failure.Template)
	if failure.Dockerfile != "" && failure.Line > 0 {
		add("rendered", fmt.Sprintf("%s:%d", failure.Dockerfile, failure.Line))
	}
	lines = append(lines, failure.Source...)
	if len(failure.Tail) > 0 {
		lines = append(lines, "last lines of output:")
		lines = append(lines, failure.Tail...)
	}
	add("log", res.Log)
	add("hint", failure.Hint)
	return lines
}

// xmlText joins lines without the characters that XML forbids: CDATA has no escapes.
func xmlText(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		for part := range strings.SplitSeq(l, "\n") {
			b.WriteString("\n" + strings.NewReplacer("\ufffe", "", "\uffff", "").Replace(Sanitize([]byte(part))))
		}
	}
	b.WriteString("\n")
	return b.String()
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }
