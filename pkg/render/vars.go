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

// maxDepth is how deep values can be nested.
const maxDepth = 1000

func parseJSON(name string, content []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	v, err := jsonValue(dec, 0)
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

func jsonValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("values are nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Number:
		return jsonNumber(tok.String())
	case json.Delim:
		if tok == '[' {
			list := jinja.NewList()
			for dec.More() {
				v, err := jsonValue(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, v)
			}
			_, err := dec.Token()
			return list, err
		}
		dict := jinja.NewDict()
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := jsonValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			dict.Set(key, v)
		}
		_, err := dec.Token()
		return dict, err
	}
	return tok, nil // string, bool, nil
}

func jsonNumber(s string) (any, error) {
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

func parseYAML(name string, content []byte) (any, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(content))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, yamlError(name, err)
	}
	c := yamlConverter{name: name, remaining: 1_000_000, done: map[*yaml.Node]any{}}
	return c.value(doc.Content[0], 0)
}

// yamlConverter converts a YAML document to template values. As in Python, aliases share
// one value.
type yamlConverter struct {
	name      string
	remaining int // how many more values can be created
	done      map[*yaml.Node]any
}

func (c *yamlConverter) value(n *yaml.Node, depth int) (any, error) {
	if c.remaining--; c.remaining < 0 || depth > maxDepth {
		return nil, &RepoError{c.name, n.Line, "values nest too deeply or are too many", ""}
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
		for k, item := range pairs(n) {
			if k = resolveAlias(k); k.Kind != yaml.ScalarNode {
				return nil, &RepoError{c.name, k.Line, "a key must be a single value", ""}
			}
			v, err := c.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			dict.Set(pyScalar(k), v)
		}
		c.done[n] = dict
		return dict, nil
	}
	return nil, &RepoError{c.name, n.Line, "this is not a value", ""}
}
