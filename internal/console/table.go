package console

import (
	"bufio"
	"io"
	"text/tabwriter"
)

// Table is a writer of lines whose cells, separated by tabs, become aligned columns.
type Table struct {
	*tabwriter.Writer
	out *bufio.Writer
}

// NewTable returns a table that Flush writes to w.
func NewTable(w io.Writer) Table {
	// A tabwriter writes each cell and its padding by itself, which would be a system call each.
	out := bufio.NewWriter(w)
	return Table{tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), out}
}

// Flush writes the table.
func (t Table) Flush() error {
	if err := t.Writer.Flush(); err != nil {
		return err
	}
	return t.out.Flush()
}
