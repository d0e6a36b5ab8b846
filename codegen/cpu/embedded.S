// The bytes embedded.h and host/interface_text.h give out; the paths are the build's.
.section .rodata
.balign 64
.global lpd_runtime_begin, lpd_runtime_end, lpd_libc_begin, lpd_libc_end, lpd_libm_begin, lpd_libm_end
lpd_runtime_begin:
.incbin LPD_RUNTIME
lpd_runtime_end:
.balign 64
lpd_libc_begin:
.incbin LPD_LIBC
lpd_libc_end:
.balign 64
lpd_libm_begin:
.incbin LPD_LIBM
lpd_libm_end:
.global lpd_interface_begin, lpd_interface_end
lpd_interface_begin:
.incbin LPD_INTERFACE
lpd_interface_end:
.section .note.GNU-stack,"",@progbits
