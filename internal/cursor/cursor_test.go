package cursor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCursorReadsBack(t *testing.T) {
	p := Prefix{Owner: "o", Collection: "c", Task: "t"}
	for _, position := range []uint64{1, 1 << 52, MaxPosition} {
		got, err := Decode('r', p, Encode('r', p, position))
		require.NoError(t, err)
		assert.Equal(t, position, got)
	}
}

func TestCursorOfAnotherKindOrPrefixIsRefused(t *testing.T) {
	cursor := Encode('r', Prefix{Owner: "ab", Task: "c"}, 7)
	for _, p := range []Prefix{{Owner: "a", Task: "bc"}, {Owner: "ab"}, {Owner: "abc"}, {Owner: "ab", Collection: "c"}, {Owner: "a", Collection: "b", Task: "c"}} {
		_, err := Decode('r', p, cursor)
		assert.Error(t, err)
	}
	for _, position := range []uint64{0, MaxPosition + 1, 1<<64 - 1} {
		_, err := Decode('r', Prefix{Owner: "o"}, Encode('r', Prefix{Owner: "o"}, position))
		assert.Error(t, err)
	}
	_, err := Decode('m', Prefix{Owner: "ab", Task: "c"}, cursor)
	assert.Error(t, err)
}

func FuzzCursor(f *testing.F) {
	p := Prefix{Owner: "o"}
	f.Add(Encode('r', p, 7))
	f.Add("x")
	f.Fuzz(func(t *testing.T, cursor string) {
		position, err := Decode('r', p, cursor)
		if err == nil && cursor != "" && Encode('r', p, position) != cursor {
			t.Fatalf("%q is accepted as another spelling of position %d", cursor, position)
		}
	})
}
