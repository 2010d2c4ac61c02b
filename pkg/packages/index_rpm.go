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
)

// places returns the URLs under which a repository can be read, the best first.
func (c *Client) places(ctx context.Context, r Repository) ([]string, error) {
	if r.List == "" {
		return r.URLs, nil
	}
	text, err := c.get(ctx, r.List)
	if errors.Is(err, errAbsent) {
		err = errors.New("there is no such list of mirrors")
	}
	if err != nil {
		return nil, err
	}
	var out []string
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		if out, err = metalink(text); err != nil {
			return nil, fmt.Errorf("its metalink: %w", err)
		}
	} else {
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "http") {
				out = append(out, strings.TrimRight(line, "/"))
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("its list of mirrors names none")
	}
	// A few: a repository that five mirrors do not have is not there.
	return out[:min(len(out), 5)], nil
}

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
		if at, ok := strings.CutSuffix(strings.TrimSpace(u.URL), "/repodata/repomd.xml"); ok && strings.HasPrefix(at, "http") {
			out = append(out, at)
		}
	}
	return out, nil
}

// rpmIndex reads repomd.xml.
func (c *Client) rpmIndex(ctx context.Context, at string) (*Index, error) {
	text, err := c.get(ctx, at+"/repodata/repomd.xml")
	if errors.Is(err, errAbsent) {
		return nil, errors.New("there is no repodata/repomd.xml")
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
			return nil, fmt.Errorf("repomd.xml has no SHA-256 sum but a %q one", d.Checksum.Type)
		}
		href := strings.TrimLeft(d.Location.Href, "/")
		return &Index{lists: []list{{{[]string{at + "/" + href}, strings.TrimSpace(d.Checksum.Sum), href}}}}, nil
	}
	return nil, errors.New("repomd.xml names no list of packages")
}

// readPrimary reads primary.xml: the packages and their versions.
func readPrimary(r io.Reader, arch string, out map[string][]string) error {
	dec := xml.NewDecoder(r)
	var name, of, version, text string
	depth := 0 // below a <package>: fields of its own are at depth 1
	in := false
	for {
		tok, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name.Local == "package" && tok.Name.Space == "" && !in {
				in, depth, name, of, version = true, 0, "", "", ""
				continue
			}
			if depth++; in && depth == 1 && tok.Name.Local == "version" {
				version = evr(tok.Attr)
			}
			text = ""
		case xml.CharData:
			if in && depth == 1 && len(text) < 4096 {
				text += string(tok)
			}
		case xml.EndElement:
			if in && depth == 0 {
				in = false
				if name != "" && version != "" && (of == arch || of == "noarch") {
					if err := offer(out, name, version); err != nil {
						return err
					}
				}
				continue
			}
			if in && depth == 1 {
				switch tok.Name.Local {
				case "name":
					name = strings.TrimSpace(text)
				case "arch":
					of = strings.TrimSpace(text)
				}
			}
			depth--
		}
	}
}

// evr is a version as installed packages have it: no epoch if it is zero.
func evr(attrs []xml.Attr) string {
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
