package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS is a JetStream key-value bucket of a NATS server that keeps it in memory: a server in
// this process or, over TCP, in one of its own.
func NATS(ctx context.Context, tcp bool) (Peer, error) {
	if !tcp {
		s, stop, err := startNATS(false)
		if err != nil {
			return Peer{}, err
		}
		return natsPeer(ctx, "NATS KV, in process", "", stop, nats.InProcessServer(s))
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), natsChild+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return Peer{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Peer{}, err
	}
	if err := cmd.Start(); err != nil {
		return Peer{}, err
	}
	stop := func() error { return errors.Join(in.Close(), cmd.Wait()) }
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return Peer{}, errors.Join(fmt.Errorf("peers: the NATS server does not start: %w", err), stop())
	}
	return natsPeer(ctx, "NATS KV, TCP", strings.TrimSpace(url), stop)
}

// natsChild is the variable that makes this program a NATS server.
const natsChild = "TASKSTORE_BENCH_NATS"

// A child of this program prints the server's URL, and ends with its input: the parent closes
// it or dies.
func init() {
	if os.Getenv(natsChild) == "" {
		return
	}
	s, stop, err := startNATS(true)
	if err == nil {
		fmt.Println(s.ClientURL())
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		err = stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startNATS starts a server with a directory of its own, which stop removes.
func startNATS(listen bool) (s *server.Server, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "bench-nats-")
	if err != nil {
		return nil, nil, err
	}
	s, err = server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, DontListen: !listen, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop = func() error {
		s.Shutdown()
		s.WaitForShutdown()
		return os.RemoveAll(dir)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, nil, errors.Join(errors.New("peers: the NATS server does not start"), stop())
	}
	return s, stop, nil
}

func natsPeer(ctx context.Context, label, url string, stop func() error, opts ...nats.Option) (Peer, error) {
	conn, err := nats.Connect(url, opts...)
	if err != nil {
		return Peer{}, errors.Join(err, stop())
	}
	end := func() error {
		conn.Close()
		return stop()
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return Peer{}, errors.Join(err, end())
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: "tasks", History: 1, TTL: life, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		return Peer{}, errors.Join(err, end())
	}
	name := func(owner, task string) string { return owner + "." + task }
	return Peer{
		Name:  label,
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
		List:   func(ctx context.Context, owner string) (int, error) { return natsList(ctx, kv, name(owner, ">")) },
		Close:  end,
	}, nil
}

func natsList(ctx context.Context, kv jetstream.KeyValue, keys string) (n int, err error) {
	w, err := kv.Watch(ctx, keys, jetstream.IgnoreDeletes())
	if err != nil {
		return 0, err
	}
	for {
		select {
		case e := <-w.Updates():
			if e == nil { // the end of the list
				return n, w.Stop()
			}
			n++
		case <-ctx.Done():
			return n, errors.Join(fmt.Errorf("peers: list: %w", ctx.Err()), w.Stop())
		}
	}
}
