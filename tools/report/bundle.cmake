# The report page without its data, in one file: page.html with its style, Vega and its scripts in the places
# that are marked.
#   cmake -DPAGE=tools/report/page -DVEGA=/usr/share/javascript -DOUT=FILE -P bundle.cmake
file(READ ${PAGE}/page.html page)
file(READ ${PAGE}/page.css style)

# scripts(list_file folder): the text of a list's files, one after the other.
function(read_scripts list_file folder result)
  file(STRINGS ${list_file} names)
  set(text "")
  foreach(name IN LISTS names)
    if(EXISTS ${PAGE}/${name})
      file(READ ${PAGE}/${name} script)
    else()
      file(READ ${folder}/${name} script)
    endif()
    string(APPEND text "${script}\n")
  endforeach()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

read_scripts(${PAGE}/vega.txt ${VEGA} vega)
read_scripts(${PAGE}/scripts.txt ${PAGE} scripts)
string(REPLACE "<!--fedclock:style-->" "<style>\n${style}</style>" page "${page}")
string(REPLACE "<!--fedclock:vega-->" "<script>\n${vega}</script>" page "${page}")
string(REPLACE "<!--fedclock:scripts-->" "<script>\n${scripts}</script>" page "${page}")
file(WRITE ${OUT} "${page}")
