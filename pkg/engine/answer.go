package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/units"
)

// Limits for answers of an engine, which may be on another host. A decoder keeps a whole value in
// memory, so values are bounded, too.
const (
	maxAnswer  = 64 << 20 // bytes of a list of images, or of the progress of a load
	maxValue   = 4 << 20  // bytes of one of their values
	maxNames   = 500_000  // images and names in a list
	maxError   = 64 << 10 // bytes that are read of an error
	maxMessage = 2000     // bytes that are shown of it
)

// decoder reads the JSON values of an answer.
type decoder struct {
	*json.Decoder
	limit *answerReader
}

func newDecoder(r io.Reader) decoder {
	limit := &answerReader{r: r, total: maxAnswer, value: maxValue}
	return decoder{json.NewDecoder(limit), limit}
}

// decode reads the next value.
func (d decoder) decode(into any) error {
	d.limit.value = maxValue
	return d.Decode(into)
}

// answerReader fails when an answer is too large.
type answerReader struct {
	r            io.Reader
	total, value int // bytes that may still be read, of the answer and of its next value
}

func (r *answerReader) Read(p []byte) (int, error) {
	switch {
	case r.total <= 0:
		return 0, fmt.Errorf("it is larger than %s", units.Bytes(maxAnswer))
	case r.value <= 0:
		return 0, fmt.Errorf("a value in it is larger than %s", units.Bytes(maxValue))
	}
	n, err := r.r.Read(p[:min(len(p), r.total, r.value)])
	r.total -= n
	r.value -= n
	return n, err
}

// readList reads a list of images of Docker or Podman.
func readList(r io.Reader) ([]listedImage, error) {
	dec := newDecoder(r)
	switch start, err := dec.Token(); {
	case errors.Is(err, io.EOF), err == nil && start == nil: // an empty list, null
		return nil, nil
	case err != nil:
		return nil, err
	case start != json.Delim('['):
		return nil, errors.New("it is not a list")
	}
	var out []listedImage
	names := 0
	for dec.More() {
		var im struct {
			ID       string `json:"Id"`
			RepoTags []string
			Names    []string // Podman's
		}
		if err := dec.decode(&im); err != nil {
			return nil, err
		}
		refs := im.RepoTags
		if len(refs) == 0 {
			refs = im.Names
		}
		if names += 1 + len(refs); names > maxNames {
			return nil, fmt.Errorf("it has more than %s", units.Count(maxNames, "name"))
		}
		out = append(out, listedImage{id: hexOf(im.ID), refs: refs})
	}
	_, err := dec.Token() // the end of the list
	return out, err
}

// answerError is an error that an engine answered with.
type answerError struct {
	status  int // of HTTP, 0 for a command
	message string
}

func newAnswerError(status int, message string) *answerError {
	return &answerError{status, printable.Bytes(oneLine(message), maxMessage)}
}

func (e *answerError) Error() string { return e.message }

// oneLine returns a text of an engine as one line, which cannot look like one of this program.
func oneLine(text string) string { return printable.Visible(strings.Join(strings.Fields(text), " ")) }
