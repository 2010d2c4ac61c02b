package packages

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
)

// maxMirrors limits the locations of a repository. A file that five mirrors do not have
// is treated as missing.
const maxMirrors = 5

// locations returns the URLs of a repository, the preferred one first.
func (c *Client) locations(ctx context.Context, r Repository) ([]string, error) {
	if r.List == "" {
		return r.URLs, nil
	}
	text, err := c.get(ctx, r.List)
	if isNotFound(err) {
		err = fmt.Errorf("the list of mirrors: %w", err)
	}
	if err != nil {
		return nil, err
	}
	var out []string
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		if out, err = metalink(text); err != nil {
			return nil, fmt.Errorf("parsing the metalink: %w", err)
		}
	} else {
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "http") {
				out = append(out, strings.TrimRight(line, "/"))
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the list of mirrors is empty")
	}
	return out[:min(len(out), maxMirrors)], nil
}

// metalink returns the locations in a metalink file, by preference.
func metalink(text []byte) ([]string, error) {
	var m struct {
		URLs []struct {
			Protocol   string `xml:"protocol,attr"`
			Preference int    `xml:"preference,attr"`
			URL        string `xml:",chardata"`
		} `xml:"files>file>resources>url"`
	}
	if err := xml.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	slices.SortStableFunc(m.URLs, func(a, b struct {
		Protocol   string `xml:"protocol,attr"`
		Preference int    `xml:"preference,attr"`
		URL        string `xml:",chardata"`
	}) int {
		return cmp.Compare(b.Preference, a.Preference)
	})
	var out []string
	for _, u := range m.URLs {
		at, ok := strings.CutSuffix(strings.TrimSpace(u.URL), "/repodata/repomd.xml")
		if ok && strings.HasPrefix(at, "http") {
			out = append(out, at)
		}
	}
	return out, nil
}

// rpmIndex reads repomd.xml.
func (c *Client) rpmIndex(ctx context.Context, at string) (*Index, error) {
	text, err := c.get(ctx, at+"/repodata/repomd.xml")
	if isNotFound(err) {
		return nil, errors.New("the server has no repodata/repomd.xml")
	}
	if err != nil {
		return nil, err
	}
	var md struct {
		Data []struct {
			Type     string `xml:"type,attr"`
			Checksum struct {
				Type string `xml:"type,attr"`
				Sum  string `xml:",chardata"`
			} `xml:"checksum"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(text, &md); err != nil {
		return nil, fmt.Errorf("repomd.xml: %w", err)
	}
	for _, d := range md.Data {
		if d.Type != "primary" {
			continue
		}
		if d.Checksum.Type != "sha256" || len(strings.TrimSpace(d.Checksum.Sum)) != 64 {
			return nil, fmt.Errorf("repomd.xml has a %q checksum, not a SHA-256", d.Checksum.Type)
		}
		href := strings.TrimLeft(d.Location.Href, "/")
		return &Index{lists: []list{{{[]string{at + "/" + href}, strings.TrimSpace(d.Checksum.Sum), href}}}}, nil
	}
	return nil, errors.New("repomd.xml has no list of packages")
}

// readPrimary adds the packages in a primary.xml file to versions.
func readPrimary(r io.Reader, arch string, versions map[string][]string) error {
	in := &tokenReader{r: r}
	dec := xml.NewDecoder(in)
	var name, packageArch, version, text string
	depth := 0 // within a <package>, whose own fields are at depth 1
	inPackage := false
	for {
		in.read = 0
		tok, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name.Local == "package" && tok.Name.Space == "" && !inPackage {
				inPackage, depth, name, packageArch, version = true, 0, "", "", ""
				continue
			}
			if depth++; inPackage && depth == 1 && tok.Name.Local == "version" {
				version = versionOf(tok.Attr)
			}
			text = ""
		case xml.CharData:
			if inPackage && depth == 1 && len(text) < 4096 {
				text += string(tok)
			}
		case xml.EndElement:
			if inPackage && depth == 0 {
				inPackage = false
				if name != "" && version != "" && (packageArch == arch || packageArch == "noarch") {
					if err := addVersion(versions, name, version); err != nil {
						return err
					}
				}
				continue
			}
			if inPackage && depth == 1 {
				switch tok.Name.Local {
				case "name":
					name = strings.TrimSpace(text)
				case "arch":
					packageArch = strings.TrimSpace(text)
				}
			}
			depth--
		}
	}
}

// maxToken limits the text between two tags, which the decoder keeps in memory.
const maxToken = 16 << 20

// tokenReader fails when the decoder reads too much for one token.
type tokenReader struct {
	r    io.Reader
	read int // bytes since the last token
}

func (t *tokenReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.read += n; t.read > maxToken {
		return 0, fmt.Errorf("text of more than %s", units.Bytes(maxToken))
	}
	return n, err
}

// versionOf formats a version like those of installed packages: an epoch of zero is
// omitted.
func versionOf(attrs []xml.Attr) string {
	v := map[string]string{}
	for _, a := range attrs {
		v[a.Name.Local] = a.Value
	}
	s := v["ver"]
	if v["rel"] != "" {
		s += "-" + v["rel"]
	}
	if e := v["epoch"]; e != "" && e != "0" {
		s = e + ":" + s
	}
	return s
}
