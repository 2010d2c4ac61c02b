package render

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pyScalar returns the value that PyYAML's safe_load reads from a scalar. In YAML 1.1,
// yes and off are booleans. Dates and numbers of more than 64 bits stay strings, which
// print the same.
func pyScalar(n *yaml.Node) any {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value
	}
	if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() == "!!str" {
		return n.Value
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false
	}
	if i, ok := pyInt(n.Value); ok {
		return i
	}
	if f, ok := pyYAMLFloat(n.Value); ok {
		return f
	}
	return n.Value
}

// Numbers of YAML 1.1: integers are decimal, binary with 0b, hexadecimal with 0x or
// octal with 0; floats need a dot, and exponents a sign. Both can contain underscores.
// Numbers in base 60 (1:30) stay strings: they are hardly ever meant.
var (
	yamlInt   = regexp.MustCompile(`^([-+]?)(?:0b([01_]+)|0([0-7_]+)|(0|[1-9][0-9_]*)|0x([0-9a-fA-F_]+))$`)
	yamlFloat = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$`)
	yamlInf   = regexp.MustCompile(`^([-+]?)\.(?:inf|Inf|INF)$`)
)

func pyInt(s string) (int64, bool) {
	m := yamlInt.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	for i, base := range []int{2, 8, 10, 16} {
		if digits := strings.ReplaceAll(m[i+2], "_", ""); digits != "" {
			v, err := strconv.ParseInt(m[1]+digits, base, 64)
			return v, err == nil
		}
	}
	return 0, false
}

func pyYAMLFloat(s string) (float64, bool) {
	if m := yamlInf.FindStringSubmatch(s); m != nil {
		if m[1] == "-" {
			return math.Inf(-1), true
		}
		return math.Inf(1), true
	}
	if s == ".nan" || s == ".NaN" || s == ".NAN" {
		return math.NaN(), true
	}
	if !yamlFloat.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil
}

// pyStr formats a value of pyScalar like Python's str.
func pyStr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return pyFloat(v)
	case string:
		return v
	}
	return ""
}

func pyFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// pyTrue reports whether a value of pyScalar is true in Python.
func pyTrue(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	}
	return true
}
