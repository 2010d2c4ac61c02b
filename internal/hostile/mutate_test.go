package hostile

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
)

// jsonValues take the place of values in documents.
var jsonValues = []any{
	nil, true, -1, 0, 1, 1 << 40, 9e18, 1e300, 0.5, "", "x", []any{}, object{}, []any{nil},
	"sha256:" + strings.Repeat("0", 64), "sha512:" + strings.Repeat("a", 128), "md5:abc",
	"sha256:../../../" + escapee, "../../" + escapee, "\u202e\x1b[2J", indexType, layerType, configType, manifestType,
	foreignKey, "9999-12-31T23:59:59Z", "linux/amd64",
}

// mutateJSON changes some values of a document but not its structure. Input that is not JSON
// is returned unchanged.
func mutateJSON(rnd *rand.Rand, raw []byte) []byte {
	var doc any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		return raw
	}
	for range 1 + rnd.IntN(3) {
		doc = mutateValue(rnd, doc)
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return raw
	}
	switch rnd.IntN(12) {
	case 0: // a field twice
		if i := bytes.IndexByte(out, '{'); i >= 0 {
			out = slices.Concat(out[:i+1], []byte(`"schemaVersion":2,"digest":"x","manifests":[],`), out[i+1:])
		}
	case 1:
		out = append(out, out...)
	case 2:
		out = slices.Concat([]byte(strings.Repeat("[", 1+rnd.IntN(20_000))), out)
	}
	return out
}

func mutateValue(rnd *rand.Rand, v any) any {
	if rnd.IntN(6) == 0 {
		return pick(rnd, jsonValues)
	}
	switch v := v.(type) {
	case map[string]any:
		keys := sortedKeys(v)
		if len(keys) == 0 {
			return pick(rnd, jsonValues)
		}
		k := pick(rnd, keys)
		switch rnd.IntN(8) {
		case 0:
			delete(v, k)
		case 1:
			v[pick(rnd, hostileNames)] = v[k]
		case 2:
			v[pick(rnd, keys)] = v[k]
		default:
			v[k] = mutateValue(rnd, v[k])
		}
		return v
	case []any:
		if len(v) == 0 {
			return []any{pick(rnd, jsonValues)}
		}
		i := rnd.IntN(len(v))
		switch rnd.IntN(8) {
		case 0:
			return slices.Delete(v, i, i+1)
		case 1:
			return append(v, slices.Repeat([]any{v[i]}, 1+rnd.IntN(200))...)
		case 2:
			j := rnd.IntN(len(v))
			v[i], v[j] = v[j], v[i]
		default:
			v[i] = mutateValue(rnd, v[i])
		}
		return v
	case string:
		if rnd.IntN(3) == 0 {
			return pick(rnd, hostileNames)
		}
	}
	return pick(rnd, jsonValues)
}

// maxMutated is the size in bytes from which a text is not made larger.
const maxMutated = 4 << 20

// repetitions returns how often a text is repeated, at least once and at most limit times.
func repetitions(rnd *rand.Rand, text string, limit int) int {
	return 1 + rnd.IntN(min(limit, 1+maxMutated/(1+len(text))))
}

// mutateText changes lines and characters of a text.
func mutateText(rnd *rand.Rand, text string, pieces []string) string {
	lines := strings.SplitAfter(text, "\n")
	for range 1 + rnd.IntN(4) {
		i := rnd.IntN(len(lines))
		switch rnd.IntN(9) {
		case 0:
			lines = slices.Insert(lines, i, pick(rnd, pieces)+"\n")
		case 1:
			line := pick(rnd, lines)
			lines = slices.Insert(lines, i, slices.Repeat([]string{line}, repetitions(rnd, line, 300))...)
		case 2:
			lines[i] = ""
		case 3:
			at := rnd.IntN(len(lines[i]) + 1)
			lines[i] = lines[i][:at] + pick(rnd, pieces) + lines[i][at:]
		case 4:
			lines[i] = strings.TrimSuffix(lines[i], "\n")
		case 5:
			line := strings.TrimSuffix(lines[i], "\n")
			lines[i] = strings.Repeat(line, repetitions(rnd, line, 2000)) + "\n"
		case 6:
			if b := []byte(lines[i]); len(b) > 0 {
				b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
				lines[i] = string(b)
			}
		case 7:
			j := rnd.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
		default:
			lines[i] = lines[i][:rnd.IntN(len(lines[i])+1)]
		}
		if size := len(strings.Join(lines, "")); size > maxMutated {
			break
		}
	}
	return strings.Join(lines, "")
}

// untarred returns the members of an archive that this test wrote.
func untarred(raw []byte) []member {
	var out []member
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			panic(err) // the generator's own mistake
		}
		content, err := io.ReadAll(r)
		if err != nil {
			panic(err)
		}
		out = append(out, member{*h, content})
	}
}

// mutateTar changes members of an archive: content, names, types, order.
func mutateTar(rnd *rand.Rand, raw []byte) []byte {
	members := untarred(raw)
	for range 1 + rnd.IntN(3) {
		if len(members) == 0 {
			break
		}
		i := rnd.IntN(len(members))
		m := members[i]
		switch rnd.IntN(12) {
		case 0, 1, 2, 3: // a document, if there is one
			for range 8 {
				if i = rnd.IntN(len(members)); len(members[i].content) > 0 && members[i].content[0] == '{' {
					break
				}
			}
			m = members[i]
			m.content = mutateJSON(rnd, m.content)
			m.Size = int64(len(m.content))
			members[i] = m
		case 4:
			m.content = damage(rnd, bytes.Clone(m.content))
			m.Size = int64(len(m.content))
			members[i] = m
		case 5:
			members = slices.Delete(members, i, i+1)
		case 6:
			members = slices.Insert(members, rnd.IntN(len(members)), m)
		case 7:
			j := rnd.IntN(len(members))
			members[i], members[j] = members[j], members[i]
		case 8:
			m.Name = pick(rnd, append([]string{members[rnd.IntN(len(members))].Name}, hostileNames...))
			members[i] = m
		case 9:
			members[i] = hostileMember(rnd, m.Name)
		case 10:
			members[i].PAXRecords = map[string]string{pick(rnd, []string{"path", "size", "linkpath", "GNU.sparse.major",
				"x.y", "mtime"}): pick(rnd, []string{"", "-1", "99999999999", "../" + escapee, "1"})}
			members[i].Format = tar.FormatPAX
		default:
			members[i].content, members[rnd.IntN(len(members))].content = nil, m.content
			members[i].Size = 0
		}
	}
	return damageSeldom(rnd, extendSeldom(rnd, writeTar(members)))
}

func damageSeldom(rnd *rand.Rand, raw []byte) []byte {
	if len(raw) == 0 || rnd.IntN(4) > 0 {
		return raw
	}
	return damage(rnd, raw)
}

// hostileMember is a member of another type: a link, a device, a FIFO, a directory.
func hostileMember(rnd *rand.Rand, name string) member {
	m := member{Header: tar.Header{Name: name, Mode: int64(rnd.IntN(0o10000))}}
	if rnd.IntN(2) == 0 {
		m.Name = pick(rnd, hostileNames)
	}
	m.Typeflag = pick(rnd, []byte{tar.TypeReg, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo,
		tar.TypeDir, tar.TypeCont, 'S', 0})
	m.Linkname = pick(rnd, append([]string{"/etc/passwd", "index.json", "..", name}, hostileNames...))
	if m.Typeflag == tar.TypeReg {
		m.content = bytes.Repeat([]byte("x"), rnd.IntN(2000))
		m.Size = int64(len(m.content))
	}
	return m
}
