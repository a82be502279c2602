# Two compilation units, as link-time optimization leaves them: the code is in the second, and the
# name of what was inlined there is in the first (DW_FORM_ref_addr). DWARF 5, by hand.
    .text
    .globl _start
_start:
    nop
mark_caller:
    nop
    .globl mark_caller
inlined_begin:
    nop
    .globl inlined_begin
inlined_end:
    nop
text_end:

    .section .debug_abbrev, "", %progbits
abbrev:
    .uleb128 1, 0x11        # compile_unit with code
    .byte 1                 #   has children
    .uleb128 0x13, 0x0b     #   language data1
    .uleb128 0x11, 0x01     #   low_pc addr
    .uleb128 0x12, 0x07     #   high_pc data8
    .uleb128 0, 0
    .uleb128 2, 0x2e        # subprogram with code
    .byte 1
    .uleb128 0x03, 0x08     #   name string
    .uleb128 0x11, 0x01
    .uleb128 0x12, 0x07
    .uleb128 0, 0
    .uleb128 3, 0x1d        # inlined_subroutine
    .byte 0
    .uleb128 0x31, 0x10     #   abstract_origin ref_addr
    .uleb128 0x11, 0x01
    .uleb128 0x12, 0x07
    .uleb128 0x59, 0x0b     #   call_line data1
    .uleb128 0, 0
    .uleb128 4, 0x11        # compile_unit without code
    .byte 1
    .uleb128 0x13, 0x0b
    .uleb128 0, 0
    .uleb128 5, 0x2e        # subprogram without code
    .byte 0
    .uleb128 0x03, 0x08
    .uleb128 0, 0
    .byte 0

    .section .debug_info, "", %progbits
info:
names:
    .long names_end - names - 4
    .short 5
    .byte 1, 8
    .long 0
    .uleb128 4
    .byte 0x1d
from_elsewhere:
    .uleb128 5
    .asciz "from_another_unit"
    .byte 0
names_end:
code:
    .long code_end - code - 4
    .short 5
    .byte 1, 8
    .long 0
    .uleb128 1
    .byte 0x1d
    .quad _start, text_end - _start
    .uleb128 2
    .asciz "caller"
    .quad _start, text_end - _start
    .uleb128 3
    .long from_elsewhere - info
    .quad inlined_begin, inlined_end - inlined_begin
    .byte 42
    .byte 0
    .byte 0
code_end:

    .section .debug_aranges, "", %progbits
aranges:
    .long aranges_end - aranges - 4
    .short 2
    .long code - info
    .byte 8, 0
    .long 0
    .quad _start, text_end - _start
    .quad 0, 0
aranges_end:

    .section .note.GNU-stack, "", %progbits
