package imagediff

import (
	"bufio"
	"bytes"
	"io"

	"github.com/kolla-build/kolla-build/internal/printable"
)

// WriteJSON writes the difference as indented JSON. Files are written one by one: two images can
// differ in 500,000 of them, which have 220 MB of JSON.
func (d *Difference) WriteJSON(out io.Writer) error {
	w := bufio.NewWriter(out)
	err := writeWithList(w, d, "", "layers", len(d.Layers), func(i int, indent string) error {
		l := d.Layers[i]
		return writeWithList(w, l, indent, "files", len(l.Files), func(i int, indent string) error {
			file, err := indented(l.Files[i].Describe(), indent)
			if err == nil {
				_, err = w.Write(file)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	w.WriteByte('\n')
	return w.Flush()
}

// writeWithList writes an object with one more field, a list of n items that item writes.
func writeWithList(
	w *bufio.Writer, object any, indent, field string, n int, item func(i int, indent string) error,
) error {
	text, err := indented(object, indent)
	if err != nil {
		return err
	}
	w.Write(bytes.TrimSuffix(text, []byte("\n"+indent+"}")))
	w.WriteString(",\n" + indent + `  "` + field + `": [`)
	for i := range n {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteString("\n" + indent + "    ")
		if err := item(i, indent+"    "); err != nil {
			return err
		}
	}
	if n > 0 {
		w.WriteString("\n" + indent + "  ")
	}
	_, err = w.WriteString("]\n" + indent + "}")
	return err
}

// indented returns a value as Console.PrintJSON has it, at an indentation.
func indented(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	err := printable.EncodeJSON(&b, v, indent, "  ")
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
