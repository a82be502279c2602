# Hostile: a function of 100,000 blocks, each inside the one before. DWARF 5, by hand.
    .text
    .globl _start
_start:
    nop
text_end:

    .section .debug_abbrev, "", %progbits
    .uleb128 1, 0x11        # compile_unit
    .byte 1                 #   has children
    .uleb128 0x13, 0x0b     #   language data1
    .uleb128 0, 0
    .uleb128 2, 0x2e        # subprogram
    .byte 1
    .uleb128 0x03, 0x08     #   name string
    .uleb128 0x11, 0x01     #   low_pc addr
    .uleb128 0x12, 0x07     #   high_pc data8
    .uleb128 0, 0
    .uleb128 3, 0x0b        # lexical_block
    .byte 1
    .uleb128 0, 0
    .byte 0

    .section .debug_info, "", %progbits
unit:
    .long unit_end - unit - 4
    .short 5
    .byte 1, 8
    .long 0
    .uleb128 1
    .byte 0x1d
    .uleb128 2
    .asciz "deep"
    .quad _start, text_end - _start
    .fill 100000, 1, 3
    .fill 100000, 1, 0
    .byte 0, 0
unit_end:

    .section .debug_aranges, "", %progbits
aranges:
    .long aranges_end - aranges - 4
    .short 2
    .long 0
    .byte 8, 0
    .long 0
    .quad _start, text_end - _start
    .quad 0, 0
aranges_end:

    .section .note.GNU-stack, "", %progbits
