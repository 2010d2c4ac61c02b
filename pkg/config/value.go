package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
)

// parseBool reads a boolean as oslo.config does.
func parseBool(s string) (bool, error) {
	switch strings.ToLower(strings.TrimFunc(s, inifile.IsSpace)) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

var integer = regexp.MustCompile(`^[+-]?[0-9]+(_[0-9]+)*$`)

// parseInt reads a whole number as Python's int does.
func parseInt(s string, minimum int) (int, error) {
	s = strings.TrimFunc(s, inifile.IsSpace)
	if !integer.MatchString(s) {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	if err != nil {
		return 0, fmt.Errorf("%s is too large a number", s)
	}
	if n < minimum {
		return 0, fmt.Errorf("%d is too small: the least is %d", n, minimum)
	}
	return n, nil
}

var size = regexp.MustCompile(`^(?i)([0-9]+(?:\.[0-9]+)?) *([kmgtp]?)(i?)b?$`)

// ParseSize reads a number of bytes. The units of 20G and 20GB are powers of 1000, those
// of 20Gi and 20GiB powers of 1024.
func ParseSize(s string) (int64, error) {
	m := size.FindStringSubmatch(strings.TrimFunc(s, inifile.IsSpace))
	if m == nil || m[2] == "" && m[3] != "" {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	unit := 1000.0
	if m[3] != "" {
		unit = 1024
	}
	if m[2] != "" {
		n *= math.Pow(unit, float64(1+strings.Index("kmgtp", strings.ToLower(m[2]))))
	}
	if n >= math.MaxInt64 {
		return 0, fmt.Errorf("%s is too large a size", s)
	}
	return int64(n), nil
}

// parseList reads items separated by commas. Commas at the end are ignored.
func parseList(s string) []string {
	s = strings.TrimRight(strings.TrimFunc(s, inifile.IsSpace), ",")
	items := []string{}
	if s == "" {
		return items
	}
	for item := range strings.SplitSeq(s, ",") {
		items = append(items, strings.TrimFunc(item, inifile.IsSpace))
	}
	return items
}

// parseDict reads key:value pairs separated by commas. A part without a colon belongs
// to the key that follows it.
func parseDict(s string) (map[string]string, error) {
	dict := map[string]string{}
	s = strings.TrimFunc(s, inifile.IsSpace)
	if s == "" {
		return dict, nil
	}
	pending := ""
	parts := strings.Split(s, ",")
	for i, part := range parts {
		pair := pending + part
		key, value, found := strings.Cut(pair, ":")
		if !found {
			if i == len(parts)-1 {
				return nil, fmt.Errorf("%q is not a key:value pair", strings.TrimFunc(pair, inifile.IsSpace))
			}
			pending = pair + ","
			continue
		}
		pending = ""
		key = strings.TrimFunc(key, inifile.IsSpace)
		if key == "" {
			return nil, fmt.Errorf("%q has no key before the colon", strings.TrimFunc(pair, inifile.IsSpace))
		}
		if strings.Contains(key, "=") { // NAME=https://HOST, which has a colon
			return nil, fmt.Errorf("%q is not a key:value pair", strings.TrimFunc(pair, inifile.IsSpace))
		}
		if _, duplicate := dict[key]; duplicate {
			return nil, fmt.Errorf("the key %q is given twice", key)
		}
		dict[key] = strings.TrimFunc(value, inifile.IsSpace)
	}
	return dict, nil
}

// formatDict is the inverse of parseDict, with sorted keys.
func formatDict(dict map[string]string) string {
	var pairs []string
	for k, v := range dict {
		pairs = append(pairs, k+":"+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// convert returns the value of an option in the type of its field in Config. Only
// repeatable options have several texts.
func (o *Option) convert(texts []string) (any, error) {
	if o.Kind == Multi {
		return append([]string(nil), texts...), nil
	}
	text := ""
	if len(texts) > 0 {
		text = texts[len(texts)-1]
	}
	switch o.Kind {
	case Bool:
		return parseBool(text)
	case Int:
		return parseInt(text, o.Min)
	case List:
		return parseList(text), nil
	case Dict:
		return parseDict(text)
	case Size:
		return ParseSize(text)
	}
	if o.Choices != nil && len(texts) > 0 && !slices.Contains(o.Choices, text) {
		return nil, fmt.Errorf("%q is not one of %s", text, strings.Join(o.Choices, ", "))
	}
	return text, nil
}

// format writes a value in the form that interpolation inserts into other values.
func format(value any) string {
	switch v := value.(type) {
	case bool:
		if v { // in Python's spelling
			return "True"
		}
		return "False"
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case []string:
		return strings.Join(v, ",")
	case map[string]string:
		return formatDict(v)
	case string:
		return v
	}
	return ""
}
