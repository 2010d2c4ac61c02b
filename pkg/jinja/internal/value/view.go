package value

// ViewKind specifies what a view shows.
type ViewKind int

const (
	// The views of a dict.
	ViewKeys ViewKind = iota
	viewValues
	ViewItems
)

func (k ViewKind) typeName() string {
	return [...]string{"dict_keys", "dict_values", "dict_items"}[k]
}

// DictView is the result of keys(), values() or items(). It follows the changes of its
// dict.
type DictView struct {
	Dict *Dict
	Kind ViewKind
}

// at returns the item of an entry.
func (v *DictView) at(i int) any {
	e := &v.Dict.entries[i]
	switch v.Kind {
	case ViewKeys:
		return e.key
	case viewValues:
		return e.val
	}
	return Tuple{e.key, e.val}
}
