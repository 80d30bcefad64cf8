package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS is a JetStream key-value bucket of an embedded NATS server that keeps it in
// memory, reached in the process or over TCP. It has its own directory, which
// Close removes.
func NATS(ctx context.Context, tcp bool) (Peer, jetstream.KeyValue, error) {
	dir, err := os.MkdirTemp("", "bench-nats-")
	if err != nil {
		return Peer{}, nil, err
	}
	s, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, DontListen: !tcp, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return Peer{}, nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.Start()
	var conn *nats.Conn
	end := func() error {
		if conn != nil {
			conn.Close()
		}
		s.Shutdown()
		s.WaitForShutdown()
		return os.RemoveAll(dir)
	}
	if !s.ReadyForConnections(10 * time.Second) {
		return Peer{}, nil, errors.Join(errors.New("peers: the NATS server does not start"), end())
	}
	name, where := "NATS KV, in process", nats.InProcessServer(s)
	if tcp {
		name, where = "NATS KV, TCP", nil
	}
	options := []nats.Option{}
	if where != nil {
		options = append(options, where)
	}
	if conn, err = nats.Connect(s.ClientURL(), options...); err != nil {
		return Peer{}, nil, errors.Join(err, end())
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return Peer{}, nil, errors.Join(err, end())
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: "tasks", History: 1, TTL: life, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		return Peer{}, nil, errors.Join(err, end())
	}
	p := natsPeer(kv)
	p.Name, p.Close = name, end
	return p, kv, nil
}

func natsPeer(kv jetstream.KeyValue) Peer {
	name := func(owner, task string) string { return owner + "." + task }
	return Peer{
		Swaps: true,
		Create: func(ctx context.Context, owner, task string, data []byte) (Record, error) {
			n, err := kv.Create(ctx, name(owner, task), data)
			return Record{n, data}, err
		},
		Get: func(ctx context.Context, owner, task string) (Record, error) {
			e, err := kv.Get(ctx, name(owner, task))
			if err != nil {
				return Record{}, err
			}
			return Record{e.Revision(), e.Value()}, nil
		},
		Update: func(ctx context.Context, owner, task string, data []byte, prev Record) (Record, error) {
			n, err := kv.Update(ctx, name(owner, task), data, prev.Revision)
			var refused *jetstream.APIError
			if errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
				err = ErrConflict
			}
			return Record{n, data}, err
		},
		Delete: func(ctx context.Context, owner, task string) error { return kv.Purge(ctx, name(owner, task)) },
		List: func(ctx context.Context, owner string) (int, error) {
			w, err := kv.Watch(ctx, name(owner, ">"), jetstream.IgnoreDeletes())
			if err != nil {
				return 0, err
			}
			n := 0
			for {
				select {
				case e := <-w.Updates():
					if e == nil { // all that there was
						return n, w.Stop()
					}
					n++
				case <-ctx.Done():
					return n, errors.Join(fmt.Errorf("peers: list: %w", ctx.Err()), w.Stop())
				}
			}
		},
	}
}
