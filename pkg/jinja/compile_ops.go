package jinja

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// binaryOps are the functions of the arithmetic operators.
var binaryOps = map[syntax.TokenType]func(fr *value.Frame, a, b any) any{
	syntax.Add: operator.Add, syntax.Sub: operator.Subtract, syntax.Mul: operator.Multiply, syntax.Div: operator.Divide,
	syntax.FloorDiv: operator.FloorDivide, syntax.Mod: operator.Modulo, syntax.Pow: operator.Power,
}

// compareFuncs are the functions of the comparison operators.
var compareFuncs = [...]func(fr *value.Frame, a, b any) bool{
	syntax.Equal:        value.Equal,
	syntax.NotEqual:     func(fr *value.Frame, a, b any) bool { return !value.Equal(fr, a, b) },
	syntax.Greater:      func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, ">") },
	syntax.GreaterEqual: func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, ">=") },
	syntax.Less:         func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, "<") },
	syntax.LessEqual:    func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, "<=") },
	syntax.In:           func(fr *value.Frame, a, b any) bool { return value.Contains(fr, b, a) },
	syntax.NotIn:        func(fr *value.Frame, a, b any) bool { return !value.Contains(fr, b, a) },
}
