package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// parseVars parses a mapping of variables in JSON or YAML: JSON if the name of the file
// ends in .json or the content is valid JSON. Values are what Python's json and yaml libraries
// make of them, with mappings in the order of the file.
func parseVars(name string, content []byte) (map[string]any, error) {
	isJSON := strings.EqualFold(filepath.Ext(name), ".json")
	var value any
	var err error
	if isJSON || json.Valid(content) {
		value, err = parseJSON(name, content)
	} else {
		value, err = parseYAML(name, content)
	}
	if err != nil {
		return nil, err
	}
	if value == nil {
		return map[string]any{}, nil
	}
	dict, ok := value.(*jinja.Dict)
	if !ok {
		return nil, fmt.Errorf("%s: the file must contain a mapping of variables, not %s", name, describeValue(value))
	}
	vars := map[string]any{}
	for _, k := range dict.Keys() {
		key, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("%s: a variable cannot be named %v; put the name in quotes", name, k)
		}
		vars[key], _ = dict.Get(key)
	}
	return vars, nil
}

// maxDepth is how deep values can be nested, and maxValues how many a file can have, where aliases
// count as what they stand for.
const (
	maxDepth  = 1000
	maxValues = 200_000
)

func parseJSON(name string, content []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	r := jsonReader{dec, maxValues}
	v, err := r.value(0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("content after the value")
		}
	}
	if err != nil {
		at := min(int(dec.InputOffset()), len(content))
		line := 1 + bytes.Count(content[:at], []byte("\n"))
		if errors.Is(err, io.EOF) {
			err = errors.New("unexpected end")
		}
		return nil, fmt.Errorf("%s:%d: not valid JSON: %w", name, line, err)
	}
	return v, nil
}

type jsonReader struct {
	*json.Decoder
	remaining int // how many more values can be created
}

func (r *jsonReader) value(depth int) (any, error) {
	if r.remaining--; r.remaining < 0 || depth > maxDepth {
		return nil, errors.New("values are nested too deeply or are too many")
	}
	tok, err := r.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Number:
		return jsonNumber(tok.String())
	case json.Delim:
		if tok == '[' {
			list := jinja.NewList()
			for r.More() {
				v, err := r.value(depth + 1)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, v)
			}
			_, err := r.Token()
			return list, err
		}
		dict := jinja.NewDict()
		for r.More() {
			key, err := r.Token()
			if err != nil {
				return nil, err
			}
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			dict.Set(key, v)
		}
		_, err := r.Token()
		return dict, err
	}
	return tok, nil // string, bool, nil
}

// maxNumber is how many characters a number has, as in Python. The time to read one is quadratic.
const maxNumber = 4300

func jsonNumber(s string) (any, error) {
	if len(s) > maxNumber {
		return nil, fmt.Errorf("a number of more than %d characters", maxNumber)
	}
	if !strings.ContainsAny(s, ".eE") {
		i, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return nil, fmt.Errorf("%s is not a number", s)
		}
		if i.IsInt64() {
			return i.Int64(), nil
		}
		return i, nil
	}
	f, _, err := big.ParseFloat(s, 10, 53, big.ToNearestEven)
	if err != nil {
		return nil, fmt.Errorf("%s is not a number", s)
	}
	v, _ := f.Float64()
	return v, nil
}

// maxYAML is the size in bytes of the largest YAML file: the parser takes two hundred times the size
// of a list of digits.
const maxYAML = 1 << 20

// parseYAMLNode parses the first document of a YAML file; nil if there is none.
func parseYAMLNode(name string, content []byte) (*yaml.Node, error) {
	if len(content) > maxYAML {
		return nil, &RepoError{name, 0, "the file is larger than " + units.Bytes(maxYAML), ""}
	}
	var doc yaml.Node
	switch err := yaml.NewDecoder(bytes.NewReader(content)).Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, yamlError(name, err)
	}
	return doc.Content[0], nil
}

func parseYAML(name string, content []byte) (any, error) {
	root, err := parseYAMLNode(name, content)
	if err != nil || root == nil {
		return nil, err
	}
	c := yamlConverter{name: name, remaining: maxValues, done: map[*yaml.Node]any{}}
	return c.value(root, 0)
}

// yamlConverter converts a YAML document to template values. As in Python, aliases share
// one value.
type yamlConverter struct {
	name      string
	remaining int // how many more values can be created
	done      map[*yaml.Node]any
}

func (c *yamlConverter) exceeded(n *yaml.Node) error {
	return &RepoError{c.name, n.Line, "values nest too deeply or are too many", ""}
}

func (c *yamlConverter) value(n *yaml.Node, depth int) (any, error) {
	if c.remaining--; c.remaining < 0 || depth > maxDepth {
		return nil, c.exceeded(n)
	}
	n = resolveAlias(n)
	if v, ok := c.done[n]; ok {
		return v, nil
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return pyScalar(n), nil
	case yaml.SequenceNode:
		list := jinja.NewList()
		for _, item := range n.Content {
			v, err := c.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			list.Items = append(list.Items, v)
		}
		c.done[n] = list
		return list, nil
	case yaml.MappingNode:
		dict := jinja.NewDict()
		for k, item := range pairs(n, &c.remaining) {
			if k = resolveAlias(k); k.Kind != yaml.ScalarNode {
				return nil, &RepoError{c.name, k.Line, "a key must be a single value", ""}
			}
			v, err := c.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			dict.Set(pyScalar(k), v)
		}
		if c.remaining < 0 {
			return nil, c.exceeded(n)
		}
		c.done[n] = dict
		return dict, nil
	}
	return nil, &RepoError{c.name, n.Line, "this is not a value", ""}
}
