# A line table as LLVM writes it, where a function's epilogue is marked and code follows it (a
# function with two ways out). DWARF 5; all but the line table by hand.
    .file 1 "debug/lines/testdata/epilogue.S"
    .text
    .globl _start
_start:
    .loc 1 9
    nop
    .loc 1 11 0 epilogue_begin
    .globl mark_epilogue
mark_epilogue:
    nop
    nop
    .loc 1 16
    .globl mark_after
mark_after:
    nop
text_end:

    .section .debug_abbrev, "", %progbits
    .uleb128 1, 0x11        # compile_unit
    .byte 1                 #   has children
    .uleb128 0x13, 0x0b     #   language data1
    .uleb128 0x10, 0x17     #   stmt_list sec_offset
    .uleb128 0x11, 0x01     #   low_pc addr
    .uleb128 0x12, 0x07     #   high_pc data8
    .uleb128 0, 0
    .uleb128 2, 0x2e        # subprogram
    .byte 0
    .uleb128 0x03, 0x08     #   name string
    .uleb128 0x6e, 0x08     #   linkage_name string
    .uleb128 0x11, 0x01
    .uleb128 0x12, 0x07
    .uleb128 0, 0
    .byte 0

    .section .debug_info, "", %progbits
unit:
    .long unit_end - unit - 4
    .short 5
    .byte 1, 8
    .long 0
    .uleb128 1
    .byte 0x1c              # Rust
    .long 0
    .quad _start, text_end - _start
    .uleb128 2
    .asciz "leave"
    .asciz "_RNvCs_5leave"
    .quad _start, text_end - _start
    .byte 0
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
