package mcptasks

import "testing"

// A header carries printable ASCII as it is, and the rest encoded.
func TestHeaderValuesAreEncodedIfTheyHaveTo(t *testing.T) {
	for value, want := range map[string]string{
		"a task~":     "a task~",
		" ":           "=?base64?IA==?=",
		"a ":          "=?base64?YSA=?=",
		"a\x1fb":      "=?base64?YR9i?=",
		"a\x7f":       "=?base64?YX8=?=",
		"é":           "=?base64?w6k=?=",
		"=?base64?x?": "=?base64?PT9iYXNlNjQ/eD8=?=",
	} {
		if got := headerValue(value); got != want {
			t.Errorf("%q is sent as %s, not %s", value, got, want)
		}
	}
}
