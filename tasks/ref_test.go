package tasks

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reference that a queue holds from an earlier version opens in a later one.
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

func TestOtherStringsAreRefusedAsReferences(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		foreign, _ := detached(t, memoryStore(t, nil), CreateParams{}, 0)
		_, err := s.Open(ctx, foreign)
		assert.ErrorIs(t, err, ErrInvalid, "a store without a secret")
		ref, _ := detached(t, s, CreateParams{}, 0)
		bad := []Ref{"", "x", "AQ", foreign, ref[:len(ref)-4], ref + "AAAA", ref + "="}
		for i := range ref {
			other := "A"
			if ref[i] == 'A' {
				other = "B"
			}
			bad = append(bad, ref[:i]+Ref(other)+ref[i+1:])
		}
		for _, r := range bad {
			_, err := s.Open(ctx, r)
			assert.Error(t, err)
			assert.NotErrorIs(t, err, ErrLeaseLost)
		}
		_, err = s.Open(ctx, "Ag"+ref[2:])
		assert.ErrorIs(t, err, ErrFormat)
	})
}

func TestAReferenceIsNotPrinted(t *testing.T) {
	s := memoryStore(t, nil)
	task, _, err := s.Create(ctx, "alice@example.com", CreateParams{Holder: "x"})
	require.NoError(t, err)
	ref, err := s.RunOf(task).Detach(ctx, 0, nil)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "ref", ref)
	printed := []string{fmt.Sprint(ref), fmt.Sprintf("%v %+v %#v %s %q %x", ref, ref, ref, ref, ref, ref), ref.String(), log.String()}
	for _, p := range printed {
		assert.NotContains(t, p, string(ref))
		assert.NotContains(t, p, fmt.Sprintf("%x", string(ref)))
	}
	plain, err := refEncoding.DecodeString(string(ref))
	require.NoError(t, err)
	assert.NotContains(t, string(plain), "alice")
	assert.NotContains(t, string(ref), "alice")
	longest, _, err := s.Create(ctx, strings.Repeat("o", MaxOwnerLength), CreateParams{Holder: "x"})
	require.NoError(t, err)
	ref, err = s.RunOf(longest).Detach(ctx, 0, nil)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(ref), 1536)
	assert.Equal(t, longest.Owner, opened(t, s, ref).Task().Owner)
}

// All replicas that detach at the same time, the first time in a store, have one secret.
func TestThereIsOneSecret(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		refs := make(chan Ref, 16)
		for range cap(refs) {
			_, run := running(t, s)
			go func() {
				ref, err := run.Detach(ctx, 0, nil)
				assert.NoError(t, err)
				refs <- ref
			}()
		}
		for range cap(refs) {
			opened(t, s, <-refs)
		}
	})
}
