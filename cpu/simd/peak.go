package simd

// Peak runs so many rounds of fused multiply-adds in registers on one thread, and nothing else, and returns how many
// operations that is, two for each multiply-add.
func Peak(isa ISA, rounds int) (operations float64) {
	k := kernelsOf(isa)
	k.peak(rounds)
	return 2 * float64(rounds) * float64(k.peakChains) * float64(k.lanes)
}
