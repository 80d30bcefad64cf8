package tasks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/taskstore/taskstore"
)

// A Ref names the work on a detached task: owner, task and fencing token, sealed with a
// secret that the store keeps. It is a string of letters, digits, '-' and '_', of at
// most 1.5 KiB, to be stored and sent as string(ref), or in JSON. It cannot be forged,
// and without the store it reveals only the length of the owner.
//
// A program that has the reference and the store can finish the task, so it prints as
// "Ref" only.
type Ref string

// String returns "Ref".
func (Ref) String() string { return "Ref" }

// GoString is String; it keeps the reference out of %#v too.
func (Ref) GoString() string { return "Ref" }

// LogValue is String; it keeps the reference out of structured logs too.
func (Ref) LogValue() slog.Value { return slog.StringValue("Ref") }

// A reference is the content of a Ref.
type reference struct {
	owner, id string
	token     uint64
	createdAt time.Time // with the token, as in a Run
}

func refOf(t *Task) reference {
	return reference{owner: t.Owner, id: t.ID, token: t.Lease.Token, createdAt: t.CreatedAt}
}

var errNoRef error = &InvalidError{Argument: "ref", Reason: "this store has not made it"}

// refFormat is the first byte of a Ref. A nonce follows and, encrypted by AES-256-GCM,
// the id, token and createdAt in Unix milliseconds (8 bytes each, big-endian) and the
// owner.
const refFormat = 1

const refHead = 16 + 8 + 8

var refEncoding = base64.RawURLEncoding.Strict()

// A seal encrypts references and decrypts them.
type seal struct{ cipher.AEAD }

func (s seal) ref(r reference) (Ref, error) {
	id, err := uuid.Parse(r.id)
	if err != nil {
		return "", err
	}
	plain := append(make([]byte, 0, refHead+len(r.owner)), id[:]...)
	plain = binary.BigEndian.AppendUint64(plain, r.token)
	plain = binary.BigEndian.AppendUint64(plain, uint64(r.createdAt.UnixMilli()))
	head := []byte{refFormat}
	return Ref(refEncoding.EncodeToString(s.Seal(head, nil, append(plain, r.owner...), head))), nil
}

func (s seal) open(ref Ref) (reference, error) {
	sealed, err := refEncoding.DecodeString(string(ref))
	if err != nil || len(sealed) == 0 {
		return reference{}, errNoRef
	}
	if sealed[0] > refFormat {
		return reference{}, &FormatError{Format: uint64(sealed[0]), Max: refFormat}
	}
	plain, err := s.Open(nil, nil, sealed[1:], sealed[:1])
	if err != nil || len(plain) <= refHead {
		return reference{}, errNoRef
	}
	return reference{
		owner: string(plain[refHead:]), id: uuid.UUID(plain[:16]).String(), token: binary.BigEndian.Uint64(plain[16:]),
		createdAt: time.UnixMilli(int64(binary.BigEndian.Uint64(plain[24:]))).UTC(),
	}, nil
}

// The secret is a key that stays the same for the life of the store: without it
// references cannot be opened. The first Detach creates it.

const (
	secretFormat = 1
	secretBytes  = 32
)

// secret returns the store's seal and creates it if it is missing.
func (s *Store) secret(ctx context.Context) (seal, error) {
	for range maxUnknown {
		found, err := s.storedSecret(ctx)
		if !errors.Is(err, ErrNotFound) {
			return found, err
		}
		key := make([]byte, secretBytes)
		_, _ = rand.Read(key) // always succeeds
		_, err = s.backend.PutIfVersion(taskstore.WithRecordLimit(ctx, 0), secretKey, taskstore.Value{Data: encodeSecret(key)}, 0)
		if err != nil && !undecided(err) && !errors.Is(err, taskstore.ErrVersionConflict) {
			return seal{}, err
		}
		// The one that is stored now counts.
	}
	return s.storedSecret(ctx)
}

// storedSecret returns the store's seal; the error matches ErrNotFound if it is
// missing.
func (s *Store) storedSecret(ctx context.Context) (seal, error) {
	raw, err := s.backend.Get(ctx, secretKey)
	if errors.Is(err, taskstore.ErrNotFound) {
		return seal{}, ErrNotFound
	}
	if err != nil {
		return seal{}, err
	}
	key, err := decodeSecret(raw.Data)
	if err != nil {
		return seal{}, err
	}
	return newSeal(key)
}

func newSeal(key []byte) (seal, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return seal{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return seal{aead}, err
}

func encodeSecret(key []byte) []byte {
	var w objectWriter
	w.open()
	w.uint("format", secretFormat)
	w.string("key", base64.StdEncoding.EncodeToString(key))
	w.close()
	return w.buf
}

func decodeSecret(data []byte) (key []byte, err error) {
	given, err := openObject(data, secretFormat, nil)
	if err != nil {
		return nil, err
	}
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "format":
		case "key":
			key, err = jsonBase64(m.value)
		default:
			err = errUnknownName
		}
	}
	if err == nil && len(key) != secretBytes {
		err = errors.New("no key")
	}
	if err != nil {
		return nil, corrupt(err)
	}
	return bytes.Clone(key), nil
}
