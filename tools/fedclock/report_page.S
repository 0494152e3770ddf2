/* The report page that tools/report/bundle.cmake makes, as bytes of the program. */
        .section .rodata
        .global fedclock_report_page
        .global fedclock_report_page_end
fedclock_report_page:
        .incbin FEDCLOCK_REPORT_PAGE
fedclock_report_page_end:
        .byte 0
        .section .note.GNU-stack,"",@progbits
