package memo

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type word string

// sample has every kind that can be encoded.
type sample struct {
	B  bool
	I  int
	J  int64
	U  uint8
	S  string
	W  word
	P  *bool
	L  []string
	X  []byte
	M  map[string]inner
	K  map[word]int
	In inner
}

type inner struct {
	S string
	L []map[string]string
}

func drawSample(t *rapid.T) sample {
	text := rapid.StringN(0, 4, 8)
	in := rapid.Custom(func(t *rapid.T) inner {
		return inner{text.Draw(t, "S"), rapid.SliceOfN(rapid.MapOfN(text, text, 0, 2), 0, 2).Draw(t, "L")}
	})
	s := sample{
		B: rapid.Bool().Draw(t, "B"), I: rapid.Int().Draw(t, "I"), J: rapid.Int64().Draw(t, "J"), U: rapid.Byte().Draw(t, "U"),
		S: text.Draw(t, "S"), W: word(text.Draw(t, "W")), P: rapid.Ptr(rapid.Bool(), true).Draw(t, "P"),
		M: rapid.MapOfN(text, in, 0, 3).Draw(t, "M"), In: in.Draw(t, "In"),
	}
	if rapid.Bool().Draw(t, "there") {
		s.L, s.X = rapid.SliceOfN(text, 0, 3).Draw(t, "L"), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "X")
		s.K = map[word]int{}
	}
	return s
}

func TestDecodeGivesWhatEncodeTook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSample(t)
		b, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got sample
		if err := Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		if again, _ := Encode(got); !bytes.Equal(b, again) {
			t.Fatal("equal values, other bytes")
		}
		if Decode(append(b, 0), &sample{}) == nil {
			t.Error("takes more than a value")
		}
		if Decode(b[:rapid.IntRange(0, len(b)-1).Draw(t, "to")], &sample{}) == nil {
			t.Error("takes less than a value")
		}
	})
}

func TestWhatCannotBeEncoded(t *testing.T) {
	type tree struct{ Below []tree }
	for _, v := range []any{tree{}, struct{ hidden int }{}, map[int]string{}, struct{ F func() }{}, struct{ A any }{}, struct{ M map[string]chan int }{}} {
		if _, err := Encode(v); err == nil {
			t.Errorf("%T: no error", v)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Encode(sample{L: []string{"x"}, M: map[string]inner{"k": {S: "s"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sample
		if Decode(b, &s) != nil {
			return
		}
		again, err := Encode(s)
		var same sample
		if err != nil || Decode(again, &same) != nil || !cmp.Equal(s, same) {
			t.Errorf("%x is read as %+v, which is not written so", b, s)
		}
	})
}
