package value

type ViewKind int

const (
	ViewKeys ViewKind = iota
	viewValues
	ViewItems
)

func (k ViewKind) typeName() string {
	return [...]string{"dict_keys", "dict_values", "dict_items"}[k]
}

// DictView is what keys(), values() and items() return: it follows its dict.
type DictView struct {
	D    *Dict
	Kind ViewKind
}

func (v *DictView) at(i int) any {
	e := &v.D.entries[i]
	switch v.Kind {
	case ViewKeys:
		return e.key
	case viewValues:
		return e.val
	}
	return Tuple{e.key, e.val}
}
