package jinja

// binaryOps are the functions of the arithmetic operators.
var binaryOps = map[tokenType]func(fr *vframe, a, b any) any{
	tokAdd: add, tokSub: subtract, tokMul: multiply, tokDiv: divide,
	tokFloorDiv: floorDivide, tokMod: modulo, tokPow: power,
}

// compareFuncs are the functions of the comparison operators.
var compareFuncs = [...]func(fr *vframe, a, b any) bool{
	cmpEq:    equal,
	cmpNe:    func(fr *vframe, a, b any) bool { return !equal(fr, a, b) },
	cmpGt:    func(fr *vframe, a, b any) bool { return order(fr, a, b, ">") },
	cmpGe:    func(fr *vframe, a, b any) bool { return order(fr, a, b, ">=") },
	cmpLt:    func(fr *vframe, a, b any) bool { return order(fr, a, b, "<") },
	cmpLe:    func(fr *vframe, a, b any) bool { return order(fr, a, b, "<=") },
	cmpIn:    func(fr *vframe, a, b any) bool { return contains(fr, b, a) },
	cmpNotIn: func(fr *vframe, a, b any) bool { return !contains(fr, b, a) },
}
