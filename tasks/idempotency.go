package tasks

import (
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

const keyFormat = 1

// A keyRecord maps an idempotency key to the task that it created.
type keyRecord struct {
	id      string
	request string            // hash of the request
	version taskstore.Version // not stored: that of the record which was read
}

func (k keyRecord) encode() []byte {
	var w objectWriter
	w.open()
	w.uint("format", keyFormat)
	w.string("id", k.id)
	w.string("request", k.request)
	w.close()
	return w.buf
}

func decodeKey(data []byte) (k keyRecord, err error) {
	given, err := openObject(data, keyFormat, nil)
	if err != nil {
		return keyRecord{}, err
	}
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "format":
		case "id":
			k.id, err = jsonString(m.value)
		case "request":
			k.request, err = jsonString(m.value)
		default:
			err = errUnknownName
		}
	}
	if err == nil && (!validID(k.id) || len(k.request) != len(hash(""))) {
		err = errors.New("no id or no request")
	}
	if err != nil {
		return keyRecord{}, corrupt(err)
	}
	return k, nil
}

// keyValue returns the record of r's key, which expires at the time at.
func keyValue(r *record, at time.Time) taskstore.Value {
	if r.key == "" {
		return taskstore.Value{}
	}
	return taskstore.Value{Data: keyRecord{id: r.ID, request: hash(r.Request)}.encode(), ExpiresAt: at}
}
