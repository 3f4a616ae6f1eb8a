package drbd

import (
	"container/heap"
	"slices"
	"sort"
)

// table holds objects by their key, so that the work of a line does not grow with the number of objects. They are
// sorted only for a snapshot, and only after one came or went.
type table[K comparable, V any] struct {
	byKey map[K]*V
	list  []*V // sorted; nil when that is to be done
}

func (t *table[K, V]) put(k K, v *V) {
	if t.byKey == nil {
		t.byKey = map[K]*V{}
	}
	t.byKey[k] = v
	t.list = nil
}

func (t *table[K, V]) remove(k K) bool {
	if t.byKey[k] == nil {
		return false
	}
	delete(t.byKey, k)
	t.list = nil
	return true
}

func (t *table[K, V]) sorted(order func(x, y *V) int) []*V {
	if t.list == nil && len(t.byKey) > 0 {
		t.list = make([]*V, 0, len(t.byKey))
		for _, v := range t.byKey {
			t.list = append(t.list, v)
		}
		slices.SortFunc(t.list, order)
	}
	return t.list
}

// firsts finds the lowest of the numbers that have a word in common, as connections may have a name. A number that no
// longer has the word stays until it would be the first.
type firsts[K comparable] map[K]*numbers

type numbers struct {
	sort.IntSlice // a heap
	in            map[int]bool
}

func (n *numbers) Push(x any) { n.IntSlice = append(n.IntSlice, x.(int)) }

func (n *numbers) Pop() any {
	last := n.IntSlice[len(n.IntSlice)-1]
	n.IntSlice = n.IntSlice[:len(n.IntSlice)-1]
	return last
}

func (f *firsts[K]) add(word K, number int) {
	if *f == nil {
		*f = firsts[K]{}
	}
	n := (*f)[word]
	if n == nil {
		n = &numbers{in: map[int]bool{}}
		(*f)[word] = n
	}
	if !n.in[number] {
		n.in[number] = true
		heap.Push(n, number)
	}
}

// first returns the lowest number that still has the word.
func (f firsts[K]) first(word K, has func(number int) bool) (int, bool) {
	n := f[word]
	for n != nil && n.Len() > 0 {
		if lowest := n.IntSlice[0]; has(lowest) {
			return lowest, true
		}
		delete(n.in, heap.Pop(n).(int))
	}
	return 0, false
}
