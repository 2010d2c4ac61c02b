package testenv

import "testing"

// Must returns a function that returns a value, and ends the test if there is an error with it.
func Must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
