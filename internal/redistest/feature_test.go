package redistest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVersionsAreRead(t *testing.T) {
	for line, want := range map[string]Version{
		"Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64 build=dff95a8e7a99d269\n": {"Redis", 6, 2, "6.2.14"},
		"Redis server v=8.2.3 sha=b5d43ceb:0 malloc=jemalloc-5.3.0 bits=64 build=a4a16\n":   {"Redis", 8, 2, "8.2.3"},
		"Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=1536df31c0395150\n": {"Valkey", 9, 1, "9.1.2"},
		"a warning\nValkey server v=9.1.0-rc1 sha=0\n":                                      {"Valkey", 9, 1, "9.1.0-rc1"},
	} {
		v, err := parseVersion(line)
		require.NoError(t, err)
		assert.Equal(t, want, v)
	}
	_, err := parseVersion("bash: no such file")
	assert.ErrorContains(t, err, "no such file")
}

func TestVersionsCompareByNumber(t *testing.T) {
	v := Version{Major: 7, Minor: 2}
	assert.True(t, v.AtLeast(6, 9))
	assert.True(t, v.AtLeast(7, 2))
	assert.False(t, v.AtLeast(7, 10))
	assert.False(t, v.AtLeast(8, 0))
}
