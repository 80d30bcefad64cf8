package tasks

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a queue holds from an earlier version opens in a later one.
func TestGoldenReference(t *testing.T) {
	key, err := decodeSecret(encodeSecret(bytes.Repeat([]byte{1, 2, 3, 4}, 8)))
	require.NoError(t, err)
	seal, err := newSeal(key)
	require.NoError(t, err)
	want := reference{
		owner: "\x00\xffé", id: "6ba7b810-9dad-41d1-80b4-00c04fd430c8", token: 1<<63 + 7,
		createdAt: time.UnixMilli(1767225600123).UTC(),
	}
	const file = "testdata/ref.txt"
	if *update {
		ref, err := seal.ref(want)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, []byte(string(ref)+"\n"), 0o644))
	}
	stored, err := os.ReadFile(file)
	require.NoError(t, err)
	got, err := seal.open(Ref(strings.TrimSpace(string(stored))))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestDecodingASecretIsStrict(t *testing.T) {
	good := string(encodeSecret(make([]byte, secretBytes)))
	for name, data := range map[string]string{
		"short":      string(encodeSecret(make([]byte, 16))),
		"no key":     `{"format":1}`,
		"unknown":    strings.Replace(good, `"format":1`, `"format":1,"x":1`, 1),
		"not base64": `{"format":1,"key":"!"}`,
	} {
		_, err := decodeSecret([]byte(data))
		assert.Error(t, err, name)
	}
	_, err := decodeSecret([]byte(strings.Replace(good, `"format":1`, `"format":2`, 1)))
	assert.ErrorIs(t, err, ErrFormat)
}
