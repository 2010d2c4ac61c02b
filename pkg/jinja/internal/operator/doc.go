// Package operator owns Python's arithmetic operators, and the formatting of
// strings by % and by format specifications. It must not know methods, filters or
// templates.
package operator
