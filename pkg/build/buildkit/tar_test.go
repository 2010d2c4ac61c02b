package buildkit

import (
	"archive/tar"
	"io"
	"strings"
)

// readTar returns the content of a file in a tar stream.
func readTar(r io.Reader, path string) (string, error) {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err != nil {
			return "", err
		}
		if strings.TrimPrefix(h.Name, "/") == path {
			data, err := io.ReadAll(tr)
			return string(data), err
		}
	}
}
