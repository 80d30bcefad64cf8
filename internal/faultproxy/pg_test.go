package faultproxy

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// message makes a message of PostgreSQL's protocol.
func message(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
}

func TestPostgresRequestsEndWithSync(t *testing.T) {
	startup := message('x', "\x00\x03\x00\x00user\x00u\x00\x00")[1:]
	bind := "\x00\x00" + "\x00\x01\x00\x01" + "\x00\x03" + "\x00\x00\x00\x02hi" + "\xff\xff\xff\xff" + "\x00\x00\x00\x00" + "\x00\x00"
	extended := message('P', "\x00SELECT f($1)\x00\x00\x00") + message('B', bind) + message('D', "P\x00") + message('E', "\x00\x00\x00\x00\x00") + message('S', "")
	simple := message('Q', "LISTEN x\x00")
	r := reader(startup + message('p', "md5") + extended + simple + message('X', ""))
	p := new(postgres)
	for _, want := range []struct {
		raw  string
		args []string
	}{
		{startup, []string{"startup"}}, {message('p', "md5"), []string{"password"}},
		{extended, []string{"SELECT f($1)", "hi", "", ""}}, {simple, []string{"LISTEN x"}}, {message('X', ""), []string{"terminate"}},
	} {
		raw, args, err := p.readRequest(r)
		require.NoError(t, err)
		assert.Equal(t, want.raw, string(raw))
		assert.Equal(t, want.args, args)
	}
	_, _, err := p.readRequest(r)
	assert.Error(t, err)
}

func TestPostgresRepliesEndWithReady(t *testing.T) {
	row := message('D', "x") + message('C', "SELECT 1\x00") + message('Z', "I")
	undone := message('E', "SERROR\x00VERROR\x00\x00") + message('Z', "I")
	fatal := message('E', "SFATAL\x00VFATAL\x00C57P01\x00\x00")
	asks := message('R', "\x00\x00\x00\x0a")
	opened := message('R', "\x00\x00\x00\x00") + message('S', "a\x00b\x00") + message('Z', "I")
	hint := message('A', "\x00\x00\x00\x00x\x00\x00")
	r := reader(asks + opened + row + hint + undone + fatal)
	p := new(postgres)
	for _, want := range []struct {
		raw  string
		push bool
	}{{asks, false}, {opened, false}, {row, false}, {hint, true}, {undone, false}, {fatal, false}} {
		raw, push, err := p.readReply(r)
		require.NoError(t, err)
		assert.Equal(t, want.raw, string(raw))
		assert.Equal(t, want.push, push)
	}
}

// A length that lies is an error, and takes no memory.
func TestPostgresLengthsAreChecked(t *testing.T) {
	for _, head := range []string{"Z\x00\x00\x00\x03", "Z\xff\xff\xff\xff", "Z\x7f\xff\xff\xff", "Z\x00\x00"} {
		_, _, err := new(postgres).readReply(reader(head))
		assert.Error(t, err)
	}
	assert.Empty(t, parameters([]byte("cut")))
}
