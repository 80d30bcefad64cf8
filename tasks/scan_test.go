package tasks

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// texts are near the edges of the grammar.
var texts = []string{
	"", " ", "{", "}", "[", "]", "{}", " { } ", "[]", "[ ]", "null", "true", "false", "nul", "nullx", "True", "tru e",
	"0", "-0", "-", "01", "1.", "1.5", ".5", "1e5", "1E+5", "1e-5", "1e", "1e+", "--1", "+1", "0x1", "1 2", "Infinity", "NaN",
	`""`, `"`, `"a`, `"\"`, `"\\"`, `"\u00e9"`, `"\u00g9"`, `"\u00"`, "\"\\u000\x10\"", `"\x"`, "\"\n\"", "\"\x00\"", "\"\x7f\xff\"", `"a" "b"`, `'a'`,
	"{,}", "[,]", "[1,]", "[1,,2]", "[1 2]", "[1]]", "[[1]", `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a" :\t1 , "b": [ ] }`, `{1:2}`, `{"a":1 "b":2}`,
	`{"a":1}x`, `{"a":1} `, `[1}`, `{"a":1]`, "[\"a\"1]", `[1"a"]`, "[1\x0b]", "\ufeff{}", "//", "[1/**/]", `{"a":{"b":[{}]}}`,
	`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`,
}

func FuzzScannerAgreesWithEncodingJSON(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	for _, r := range examples() {
		f.Add(r.encode())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		kept, err := checkJSON(text)
		require.Equal(t, json.Valid(text), err == nil || strings.Contains(err.Error(), "levels"), "%q", text)
		if err == nil {
			require.Equal(t, strings.Trim(string(text), " \t\r\n"), string(kept))
		}

		all, err := splitObject(text, nil)
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(text, &want) == nil && want != nil
		if err != nil {
			require.True(t, !isObject || err == errDuplicate, "%q: %v", text, err)
		} else {
			require.True(t, isObject, "%q", text)
			require.Len(t, want, len(all))
			for _, m := range all {
				require.Equal(t, string(want[string(m.name)]), string(m.value))
			}
		}

		values, err := splitArray(text)
		var items []json.RawMessage
		isArray := json.Unmarshal(text, &items) == nil && items != nil
		require.Equal(t, isArray, err == nil, "%q: %v", text, err)
		for i := range values {
			require.Equal(t, string(items[i]), string(values[i]))
		}
	})
}

// However many names an object has, one that is twice in it is found.
func TestANameTwiceIsFoundAmongMany(t *testing.T) {
	for _, n := range []int{1, fewMembers - 1, fewMembers, fewMembers + 1, 500} {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"n%d":%d,`, i, i)
		}
		all, err := splitObject([]byte("{"+b.String()+`"last":0}`), nil)
		require.NoError(t, err)
		assert.Len(t, all, n+1)
		for _, twice := range []int{0, n / 2, n - 1} {
			_, err := splitObject(fmt.Appendf(nil, `{%s"n%d":0}`, b.String(), twice), nil)
			assert.ErrorIs(t, err, errDuplicate, "n%d of %d", twice, n)
		}
	}
}

func TestDeepTextsAreRefused(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	_, err := checkJSON(nested(maxJSONDepth))
	require.NoError(t, err)
	_, err = checkJSON(nested(maxJSONDepth + 1))
	assert.ErrorContains(t, err, "1000 levels")
	_, err = splitArray(nested(maxScanDepth))
	require.NoError(t, err)
	_, err = splitArray(nested(10 * maxScanDepth))
	assert.ErrorIs(t, err, errTooDeep)
}
