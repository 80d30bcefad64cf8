package redislink

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecodeReplyIsStrict(t *testing.T) {
	s := &Script{Name: "put"}
	good := []struct {
		raw  any
		want Reply
	}{
		{"7", Reply{Status: StatusOK, Number: 7}},
		{"9223372036854775807", Reply{Status: StatusOK, Number: math.MaxInt64}},
		{[]any{"conflict", "0"}, Reply{Status: StatusConflict}},
		{[]any{"full", "12"}, Reply{Status: StatusFull, Number: 12}},
		{[]any{"overflow", "9223372036854775807"}, Reply{Status: StatusOverflow, Number: math.MaxInt64}},
		{[]any{"corrupt", "why"}, Reply{Status: StatusCorrupt, Reason: "why"}},
		{[]any{"conflict", "9999999999999999999"}, Reply{Status: StatusCorrupt, Reason: "version is not a number"}},
		{[]any{"overflow", "9999999999999999999"}, Reply{Status: StatusCorrupt, Reason: "version is not a number"}},
	}
	for _, c := range good {
		got, err := s.Decode(c.raw)
		require.NoError(t, err, "%v", c.raw)
		assert.Equal(t, c.want, got)
	}
	batch := &Script{Name: "put", Writes: 16}
	for raw, want := range map[[3]any]Reply{
		{"conflict", "7", int64(1)}:                   {Status: StatusConflict, Number: 7},
		{"full", "12", int64(16)}:                     {Status: StatusFull, Number: 12, Write: 15},
		{"corrupt", "why", int64(2)}:                  {Status: StatusCorrupt, Reason: "why", Write: 1},
		{"overflow", "9999999999999999999", int64(2)}: {Status: StatusCorrupt, Reason: "version is not a number", Write: 1},
	} {
		got, err := batch.Decode(raw[:])
		require.NoError(t, err, "%v", raw)
		assert.Equal(t, want, got)
		_, err = s.Decode(raw[:])
		assert.ErrorIs(t, err, ErrUnexpectedReply, "of one write: %v", raw)
	}
	for _, nth := range []any{int64(0), int64(17), int64(-1), "1", nil} {
		_, err := batch.Decode([]any{"conflict", "7", nth})
		assert.ErrorIs(t, err, ErrUnexpectedReply, "%v", nth)
	}
	for _, raw := range []any{
		nil, int64(7), "", "x", "07", "-1", "1e+14", "9223372036854775808",
		[]any{}, []any{"ok"}, []any{"full", int64(1)}, []any{"full", "x"}, []any{1, "1"}, []any{"new", "1"}, []any{"ok", "1", "2"},
	} {
		_, err := s.Decode(raw)
		assert.ErrorContains(t, err, "script put", "%v", raw)
	}
}
