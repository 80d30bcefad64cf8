package tasks

import "testing"

func BenchmarkDecode(b *testing.B) {
	big := examples()["completed"]
	big.Result = jsonOf(1 << 20)
	for name, r := range map[string]*record{
		"Working": examples()["working"], "InputRequired": examples()["input_required"], "Failed": examples()["failed"], "1MiB": big,
	} {
		data := r.encode()
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
